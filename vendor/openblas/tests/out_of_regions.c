/* Too many concurrent callers, or no memory for a work area: one line on stderr, then abort(). No SIGSEGV, no endless loop, no
 * exit() in a library.
 *
 * Each case runs in its own process with its own alarm; its stderr is read. The cases take work areas with the function that
 * every routine calls first, except the case of the incident: 700 threads that call a GEMM. */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "sgemm.h"

void *blas_memory_alloc(int who);
void blas_memory_free(void *area);

enum { CALLERS = 700, OVERFLOWED = 200, LIMIT = 5000, ROUNDS = 20, CLOCK_S = 20 };

static pthread_barrier_t all_here;

static void *call_gemm(void *unused) {
  pthread_barrier_wait(&all_here);
  sgemm_is_wrong(128);
  return unused;
}

static void callers(void) {
  pthread_t threads[CALLERS];
  pthread_attr_t small;
  openblas_set_num_threads(2);
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 256 << 10);
  pthread_barrier_init(&all_here, NULL, CALLERS);
  for (int i = 0; i < CALLERS; i++)
    if (pthread_create(&threads[i], &small, call_gemm, NULL)) _exit(2);
  for (int i = 0; i < CALLERS; i++) pthread_join(threads[i], NULL);
}

static void too_many(void) {
  for (int i = 0; i < LIMIT; i++) *(volatile char *)blas_memory_alloc(0) = 1;
}

static void limit_memory(void) {
  struct rlimit limit = {1 << 20, 1 << 20}; /* less than is mapped already, so no new mapping succeeds */
  if (setrlimit(RLIMIT_AS, &limit)) _exit(2);
}

static void no_memory(void) {
  for (int i = 0; i < 10; i++) blas_memory_alloc(0);
  limit_memory();
  too_many();
}

static void no_memory_after_overflow(void) {
  for (int i = 0; i < OVERFLOWED; i++) blas_memory_alloc(0);
  limit_memory();
  too_many();
}

/* Areas of the auxiliary array are reused, not mapped again: this must not abort. */
static void overflow_is_used_again(void) {
  static void *areas[OVERFLOWED];
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < OVERFLOWED; i++) *(volatile char *)(areas[i] = blas_memory_alloc(0)) = 1;
    for (int i = 0; i < OVERFLOWED; i++) blas_memory_free(areas[i]);
    if (round == 0) limit_memory();
  }
}

static const struct {
  const char *name;
  void (*run)(void);
  int signal;
  const char *line; /* start of the line */
} cases[] = {
    {"700 callers of a GEMM", callers, -1, "OpenBLAS: 640 work areas are in use at once"},
    {"too many work areas", too_many, SIGABRT, "OpenBLAS: 640 work areas are in use at once"},
    {"no memory", no_memory, SIGABRT, "OpenBLAS: no memory for a work area"},
    {"no memory after overflow", no_memory_after_overflow, SIGABRT, "OpenBLAS: no memory for a work area"},
    {"overflow is used again", overflow_is_used_again, 0, NULL},
};

static int lines_that_start_with(FILE *said, const char *start) {
  char line[1000];
  int count = 0;
  rewind(said);
  while (fgets(line, sizeof line, said)) count += strncmp(line, start, strlen(start)) == 0;
  return count;
}

int main(void) {
  int failed = 0;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    FILE *said = tmpfile();
    int status = 0, lines, signalled;
    pid_t child;
    if (!said) return 2;
    child = fork();
    if (child == 0) {
      dup2(fileno(said), 1);
      dup2(fileno(said), 2);
      alarm(CLOCK_S);
      cases[i].run();
      _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0) return 2;
    lines = cases[i].line ? lines_that_start_with(said, cases[i].line) : 0;
    signalled = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (!WIFSIGNALED(status) && WEXITSTATUS(status) == 2) return 2;
    /* 700 callers may pass when enough of them end before the last one starts; then nothing is printed either */
    if (status != 0 && signalled == 0)
      failed = 1;
    else if (cases[i].signal == -1 ? !(signalled == SIGABRT ? lines == 1 : signalled == 0 && lines == 0)
                                   : signalled != cases[i].signal || lines != (cases[i].line != NULL))
      failed = 1;
    else {
      printf("%s: ok, %s, %d line\n", cases[i].name, signalled ? "SIGABRT" : "went on", lines);
      fclose(said);
      continue;
    }
    printf("%s: FAILED, wait status 0x%x, %d lines\n", cases[i].name, (unsigned)status, lines);
    fclose(said);
  }
  return failed;
}
