/* A worker that cannot be created costs one thread, not the process: no signal, no hang, the correct result.
 *
 * pthread_create is defined here and counts: after `creations_left` it returns EAGAIN, as the kernel does at a limit on
 * processes or memory. A real limit does not work: RLIMIT_NPROC does not apply to root, and RLIMIT_AS affects the buffers first.
 * Each case runs in its own process with its own alarm. SIGINT is ignored in some, as in a background job of a shell: there the
 * unpatched library continues and hangs; elsewhere it ends itself with SIGINT. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "settings.h"
#include "sgemm.h"

SETTINGS(4, 0)

enum { UNLIMITED = 1 << 30, N = 512, CLOCK_S = 20 };

int __pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *); /* musl's definition behind the weak name */
int blas_thread_shutdown_(void);

static int creations_left = -1;

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg) {
  if (creations_left < 0) { /* the constructor of the library calls before main */
    const char *text = getenv("CREATIONS_LEFT");
    creations_left = text ? atoi(text) : UNLIMITED;
  }
  if (creations_left == 0) return EAGAIN;
  creations_left--;
  return __pthread_create(thread, attr, start, arg);
}

static int check(const char *what, int expected_threads) {
  int wrong = sgemm_is_wrong(N);
  int threads = openblas_get_num_threads();
  if (threads != expected_threads) {
    fprintf(stderr, "%s: expected %d threads, found %d\n", what, expected_threads, threads);
    wrong = 1;
  }
  return wrong != 0;
}

/* No worker can be created from the start. */
static int at_start(void) { return check("at start", 1); }

/* The pool grows, and the second new worker cannot be created; later it can. */
static int grow(void) {
  int before = openblas_get_num_threads();
  creations_left = 1;
  openblas_set_num_threads(before + 3);
  if (check("grow", before + 1)) return 1;
  creations_left = UNLIMITED;
  openblas_set_num_threads(before + 3);
  return check("grow again", before + 3);
}

/* The pool was shut down, as before a fork, and one of three workers starts again. Without the patch, work is divided among the
 * threads before the pool is started again. */
static int restart(void) {
  openblas_set_num_threads(4);
  if (check("before the restart", 4)) return 1;
  blas_thread_shutdown_();
  creations_left = 1;
  return check("restart", 2);
}

/* A forked child may get no thread; its parent gets all of them again. */
static int after_fork(void) {
  int status = 0;
  pid_t child;
  openblas_set_num_threads(4);
  if (check("before the fork", 4)) return 1;
  child = fork();
  if (child == 0) {
    alarm(CLOCK_S / 2);
    creations_left = 0;
    _exit(check("child", 1));
  }
  if (child < 0 || waitpid(child, &status, 0) < 0) return 2;
  if (status != 0) {
    fprintf(stderr, "after fork: child ended with wait status 0x%x\n", (unsigned)status);
    return 1;
  }
  return check("parent", 4);
}

static const struct {
  const char *name;
  int (*run)(void);
  const char *creations_left;
  int ignore_sigint;
} cases[] = {
    {"at-start", at_start, "0", 0},
    {"at-start, SIGINT ignored", at_start, "0", 1},
    {"grow", grow, "1000", 1},
    {"restart", restart, "1000", 0},
    {"restart, SIGINT ignored", restart, "1000", 1},
    {"after-fork", after_fork, "1000", 1},
};

int main(int argc, char **argv) {
  int failed = 0;
  if (argc == 2) {
    alarm(CLOCK_S);
    return cases[atoi(argv[1])].run();
  }
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
      char index[16];
      snprintf(index, sizeof index, "%zu", i);
      signal(SIGINT, cases[i].ignore_sigint ? SIG_IGN : SIG_DFL);
      setenv("CREATIONS_LEFT", cases[i].creations_left, 1);
      execl("/proc/self/exe", argv[0], index, (char *)0);
      _exit(2);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0) return 2;
    if (WIFSIGNALED(status)) {
      printf("%s: FAILED, signal %d (%s)\n", cases[i].name, WTERMSIG(status),
             WTERMSIG(status) == SIGALRM ? "hung" : strsignal(WTERMSIG(status)));
      failed = 1;
    } else if (WEXITSTATUS(status) != 0) {
      printf("%s: FAILED, exit %d\n", cases[i].name, WEXITSTATUS(status));
      failed = 1;
    } else {
      printf("%s: ok\n", cases[i].name);
    }
    fflush(stdout);
  }
  return failed;
}
