/* fork() while other threads are inside the library: the child can multiply, and the parent continues.
 *
 * Two threads call GEMMs all the time (level 3, under its own lock), one calls GEMVs (level 2, which share the pool without
 * that lock). The main thread forks; each child multiplies and exits; then the callers of the parent must still get correct
 * results. Each fork has its own alarm, so that a hang costs seconds. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "settings.h"
#include "sgemm.h"

SETTINGS(2, 10) /* park early */

void cblas_sgemv(int order, int trans, int m, int n, float alpha, const float *a, int lda, const float *x, int incx,
                 float beta, float *y, int incy);

enum { THREADS = 2, FORKS = 100, CLOCK_S = 20, SIZE = 160, GEMV_SIZE = 700 };

static atomic_int stop, wrong, calls;

static void *call_gemm(void *unused) {
  while (!stop) {
    if (sgemm_is_wrong(SIZE)) wrong++;
    calls++;
    usleep(500);
  }
  return unused;
}

static void *call_gemv(void *unused) {
  static float a[GEMV_SIZE * GEMV_SIZE], x[GEMV_SIZE], y[GEMV_SIZE];
  for (int i = 0; i < GEMV_SIZE * GEMV_SIZE; i++) a[i] = 1.0f;
  for (int i = 0; i < GEMV_SIZE; i++) x[i] = 2.0f;
  while (!stop) {
    cblas_sgemv(ROW_MAJOR, NO_TRANS, GEMV_SIZE, GEMV_SIZE, 1.0f, a, GEMV_SIZE, x, 1, 0.0f, y, 1);
    for (int i = 0; i < GEMV_SIZE; i++)
      if (y[i] != 2.0f * GEMV_SIZE) wrong++;
    calls++;
    usleep(500);
  }
  return unused;
}

int main(void) {
  static void *(*const callers[])(void *) = {call_gemm, call_gemm, call_gemv};
  enum { CALLERS = sizeof callers / sizeof *callers };
  pthread_t threads[CALLERS];
  int lived = 0, calls_at_last_fork;
  alarm(CLOCK_S);
  openblas_set_num_threads(THREADS);
  for (int i = 0; i < CALLERS; i++)
    if (pthread_create(&threads[i], NULL, callers[i], NULL)) return 2;
  while (calls < CALLERS) usleep(1000);
  for (int i = 0; i < FORKS; i++) {
    int status = 0;
    pid_t child;
    alarm(CLOCK_S);
    child = fork();
    if (child == 0) {
      alarm(CLOCK_S / 2);
      _exit(sgemm_is_wrong(SIZE) != 0 || openblas_get_num_threads() != THREADS);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0) return 2;
    if (status != 0) {
      fprintf(stderr, "fork %d: child ended with wait status 0x%x\n", i, (unsigned)status);
      _exit(1); /* each further child would cost its complete alarm */
    }
    lived++;
  }
  calls_at_last_fork = calls;
  while (calls < calls_at_last_fork + 10) usleep(1000); /* the alarm ends this when the callers hang */
  stop = 1;
  for (int i = 0; i < CALLERS; i++) pthread_join(threads[i], NULL);
  printf("%d of %d children lived; %d calls of the parent, %d wrong\n", lived, FORKS, (int)calls, (int)wrong);
  return wrong != 0;
}
