/* Negative control for the stack of the CALLER, which no patch of the workers reaches.
 *
 * Against an archive that was made with NUM_THREADS=32 and a job array on the stack, and linked with
 * `-z stack-size=131072`, this must die with SIGSEGV; linked with `-z stack-size=8388608` it must pass. Needs two threads,
 * so OPENBLAS_NUM_THREADS must not be 1. Calls from a thread that was created with default attributes, as C code does. */
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
