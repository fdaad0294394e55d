/* Each kernel set of the archive can be chosen by name, reports that name and computes correct products; a processor with AMX
 * that is not in the table of models gets the kernels for AMX. A hypervisor can report the model number of another processor: then
 * the table decides.
 *
 * Each case runs in its own process. A set with instructions that this processor lacks must still report its name, or end with
 * SIGILL; it multiplies nothing. The unpatched object has no openblas_set_coretype and reads a variable before main instead. */
#include <cpuid.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>

#include "sgemm.h"

char *openblas_get_corename(void);
__attribute__((weak)) int openblas_set_coretype(char *name);
int support_avx2(void);
int support_avx512(void);
int support_amx_bf16(void);

enum { CLOCK_S = 60 };

static int any(void) { return 1; }

/* Rocket Lake, family 6 and model 0xa7, which virtual machines with AMX were seen to report. */
static int has_model_of_rocket_lake(void) {
  unsigned eax = 0, ebx, ecx, edx;
  __get_cpuid(1, &eax, &ebx, &ecx, &edx);
  return (eax >> 8 & 0xf) == 6 && (eax >> 12 & 0xf0) + (eax >> 4 & 0xf) == 0xa7;
}

static const struct {
  char *name;
  int (*runs_here)(void);
} sets[] = {
    {"Prescott", any},
    {"Haswell", support_avx2},
    {"Zen", support_avx2},
    {"SkylakeX", support_avx512},
    {"SapphireRapids", support_amx_bf16},
    {"", any}, /* no choice: the library detects the processor */
};

/* Compared with a product in double precision. Sizes that are no multiple of any kernel's tile, transposed or not. */
static int product_is_wrong(int m, int n, int k, int trans_a, int trans_b) {
  int lda = trans_a == NO_TRANS ? k : m, ldb = trans_b == NO_TRANS ? n : k, wrong = 0;
  float *a = malloc(sizeof(float) * m * k), *b = malloc(sizeof(float) * k * n), *c = malloc(sizeof(float) * m * n);
  unsigned seed = 12345;
  if (!a || !b || !c) exit(2);
  for (int i = 0; i < m * k; i++) a[i] = (float)((seed = seed * 1664525 + 1013904223) >> 8) / (1 << 24) - 0.5f;
  for (int i = 0; i < k * n; i++) b[i] = (float)((seed = seed * 1664525 + 1013904223) >> 8) / (1 << 24) - 0.5f;
  for (int i = 0; i < m * n; i++) c[i] = 1.0f;
  cblas_sgemm(ROW_MAJOR, trans_a, trans_b, m, n, k, 0.5f, a, lda, b, ldb, 2.0f, c, n);
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      double exact = 0;
      for (int l = 0; l < k; l++)
        exact += (double)(trans_a == NO_TRANS ? a[i * lda + l] : a[l * lda + i]) *
                 (double)(trans_b == NO_TRANS ? b[l * ldb + j] : b[j * ldb + l]);
      exact = 0.5 * exact + 2.0;
      /* k products of at most 1/4 each, half a unit in the last place a step */
      double off = exact - (double)c[i * n + j], allowed = (k * 0.25 + 2) * k * 6e-8;
      if (off > allowed || off < -allowed) wrong++;
    }
  if (wrong) fprintf(stderr, "%d x %d x %d, %d, %d: %d elements are wrong\n", m, n, k, trans_a, trans_b, wrong);
  free(a);
  free(b);
  free(c);
  return wrong;
}

static int check(char *wanted, int runs_here) {
  static const int shapes[][3] = {{1, 1, 1}, {7, 5, 3}, {33, 17, 65}, {130, 67, 129}, {257, 251, 263}, {9, 13, 523}};
  char *found;
  if (*wanted && openblas_set_coretype && openblas_set_coretype(wanted)) {
    fprintf(stderr, "no kernels have the name %s\n", wanted);
    return 1;
  }
  found = openblas_get_corename();
  int wrong = 0;
  openblas_set_num_threads(2);
  if (!runs_here) {
    printf("wanted %s, found %s; this processor lacks its instructions\n", wanted, found);
    return strcasecmp(wanted, found) != 0;
  }
  if (!*wanted) wanted = !support_amx_bf16() ? found : has_model_of_rocket_lake() ? "SkylakeX" : "SapphireRapids";
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int transposed = 0; transposed < 4; transposed++)
      wrong += product_is_wrong(shapes[i][0], shapes[i][1], shapes[i][2], NO_TRANS + (transposed & 1),
                                NO_TRANS + (transposed >> 1)) != 0;
  printf("wanted %s, found %s, %d of 24 products wrong\n", wanted, found, wrong);
  return wrong != 0 || strcasecmp(wanted, found) != 0;
}

int main(int argc, char **argv) {
  int failed = 0;
  if (argc == 2) {
    alarm(CLOCK_S);
    return check(sets[atoi(argv[1])].name, sets[atoi(argv[1])].runs_here());
  }
  for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
    int status = 0;
    pid_t child;
    fflush(stdout);
    child = fork();
    if (child == 0) {
      char index[16];
      snprintf(index, sizeof index, "%zu", i);
      unsetenv("OPENBLAS_CORETYPE");
      if (*sets[i].name) setenv("OPENBLAS_CORETYPE", sets[i].name, 1);
      execl("/proc/self/exe", argv[0], index, (char *)0);
      _exit(2);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0) return 2;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGILL && !sets[i].runs_here()) {
      printf("%s: this processor lacks its instructions\n", sets[i].name);
    } else if (status != 0) {
      printf("%s: FAILED, wait status 0x%x\n", *sets[i].name ? sets[i].name : "detected", (unsigned)status);
      failed = 1;
    }
  }
  return failed;
}
