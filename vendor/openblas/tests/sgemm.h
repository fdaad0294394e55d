/* Shared by all behavioural tests: prototypes, one GEMM with a known result, and an alarm that ends a hang.
 * The tests are plain C programs, linked statically with the archive under test. Exit 0: holds; 1: does not hold;
 * 2: not measured; SIGALRM: it hung. */
#ifndef SGEMM_H
#define SGEMM_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
void openblas_set_num_threads(int threads);
int openblas_get_num_threads(void);

enum { ROW_MAJOR = 101, NO_TRANS = 111 };

/* All ones times all twos: each element is 2 n, exact in float. Returns 0 when every element is. */
static int sgemm_is_wrong(int n) {
  size_t elements = (size_t)n * n;
  float *a = malloc(elements * sizeof *a), *b = malloc(elements * sizeof *b), *c = malloc(elements * sizeof *c);
  int wrong = 0;
  if (!a || !b || !c) {
    fprintf(stderr, "no memory for matrices of %d x %d\n", n, n);
    exit(2);
  }
  for (size_t i = 0; i < elements; i++) {
    a[i] = 1.0f;
    b[i] = 2.0f;
    c[i] = -1.0f;
  }
  cblas_sgemm(ROW_MAJOR, NO_TRANS, NO_TRANS, n, n, n, 1.0f, a, n, b, n, 0.0f, c, n);
  for (size_t i = 0; i < elements; i++)
    if (c[i] != 2.0f * (float)n) wrong++;
  if (wrong) fprintf(stderr, "sgemm %d x %d: %d elements are wrong\n", n, n, wrong);
  free(a);
  free(b);
  free(c);
  return wrong;
}

#endif
