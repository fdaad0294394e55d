/* Negative control for the stack of the CALLER, which the patches of the workers do not change.
 *
 * Linked with an archive for NUM_THREADS=32 with the job array on the stack and `-z stack-size=131072`, this must end with
 * SIGSEGV; linked with `-z stack-size` of release.toml it must pass. It needs two threads. It calls from a thread that was
 * created with default attributes, as C code does. */
#include <pthread.h>

#include "sgemm.h"

enum { CLOCK_S = 30 };

static void *call_sgemm(void *wrong) {
  *(int *)wrong = sgemm_is_wrong(1024);
  return NULL;
}

int main(void) {
  pthread_t caller;
  int wrong = 1;
  alarm(CLOCK_S);
  openblas_set_num_threads(2);
  if (pthread_create(&caller, NULL, call_sgemm, &wrong)) {
    perror("pthread_create");
    return 2;
  }
  pthread_join(caller, NULL);
  return wrong != 0;
}
