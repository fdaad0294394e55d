/* The kernels for CPUs without AVX2 can be chosen on every CPU, report their name, and multiply with a k above their block of
 * 128 rows, on one thread and on two.
 *
 * The choice is made in a child process, because the defect overwrites the stack. The unpatched object has no
 * openblas_set_coretype and reads a variable before main instead. */
#include <string.h>
#include <strings.h>
#include <sys/wait.h>

#include "sgemm.h"

char *openblas_get_corename(void);
__attribute__((weak)) int openblas_set_coretype(char *name);

enum { CLOCK_S = 60, SIZE = 512 };

static char name[] = "Prescott";

static int check(void) {
  int wrong = 0;
  if (openblas_set_coretype && openblas_set_coretype(name)) {
    fprintf(stderr, "no kernels have the name %s\n", name);
    return 1;
  }
  for (int threads = 1; threads <= 2; threads++) {
    openblas_set_num_threads(threads);
    wrong += sgemm_is_wrong(SIZE) != 0;
  }
  printf("wanted %s, found %s, %d of 2 products wrong\n", name, openblas_get_corename(), wrong);
  return wrong != 0 || strcasecmp(name, openblas_get_corename()) != 0;
}

int main(int argc, char **argv) {
  int status = 0;
  pid_t child;
  alarm(CLOCK_S);
  if (argc == 2) return check();
  child = fork();
  if (child == 0) {
    setenv("OPENBLAS_CORETYPE", name, 1);
    execl("/proc/self/exe", argv[0], "child", (char *)0);
    _exit(2);
  }
  if (child < 0 || waitpid(child, &status, 0) < 0) return 2;
  if (status != 0) printf("FAILED, wait status 0x%x\n", (unsigned)status);
  return status != 0;
}
