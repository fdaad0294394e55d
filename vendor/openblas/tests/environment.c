/* No variable chooses the kernels or the number of threads, or makes the library print; one thread at start. The program chooses:
 * openblas_set_coretype selects kernels by name, and refuses an unknown name without an effect.
 *
 * The program runs itself three times: without the variables, with them, and to choose kernels. */
#include <dirent.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>

#include "sgemm.h"

char *openblas_get_corename(void);
int support_avx2(void);
__attribute__((weak)) int openblas_set_coretype(char *name); /* not in the unpatched object */

enum { CLOCK_S = 20 };

static char kernels[] = "Haswell";

static const char *const variables[][2] = {
    {"OPENBLAS_CORETYPE", kernels},    {"OPENBLAS_NUM_THREADS", "2"},    {"OPENBLAS_DEFAULT_NUM_THREADS", "2"},
    {"GOTO_NUM_THREADS", "2"},         {"OMP_NUM_THREADS", "2"},         {"OMP_ADAPTIVE", "1"},
    {"OPENBLAS_VERBOSE", "2"},         {"OPENBLAS_THREAD_TIMEOUT", "4"}, {"OPENBLAS_L2_SIZE", "64"},
    {"OPENBLAS_BLOCK_FACTOR", "2"},
};
enum { VARIABLES = sizeof variables / sizeof *variables };

static int threads_of_process(void) {
  int count = 0;
  struct dirent *entry;
  DIR *tasks = opendir("/proc/self/task");
  while (tasks && (entry = readdir(tasks))) count += entry->d_name[0] != '.';
  if (tasks) closedir(tasks);
  return count;
}

static void state(void) {
  printf("%s, %d threads, %d in the process, product %s\n", openblas_get_corename(), openblas_get_num_threads(),
         threads_of_process(), sgemm_is_wrong(300) ? "wrong" : "correct");
}

static int choose(void) {
  char before[64];
  snprintf(before, sizeof before, "%s", openblas_get_corename());
  if (!openblas_set_coretype) return 1;
  if (openblas_set_coretype("Abacus") == 0 || strcmp(before, openblas_get_corename()) != 0) return 1;
  if (openblas_set_coretype(kernels) != 0 || strcasecmp(kernels, openblas_get_corename()) != 0) return 1;
  openblas_set_num_threads(3);
  if (support_avx2() && sgemm_is_wrong(300)) return 1;
  if (openblas_set_coretype(before) != 0 || sgemm_is_wrong(300)) return 1;
  printf("chosen: %s, %d threads\n", openblas_get_corename(), openblas_get_num_threads());
  return 0;
}

/* What a run prints on both streams. */
static int run_again(char *program, char *mode, char *said, size_t bytes) {
  int ends[2], status = 0;
  size_t count = 0;
  ssize_t got;
  pid_t child;
  if (pipe(ends)) return 2;
  fflush(stdout);
  child = fork();
  if (child == 0) {
    for (int i = 0; i < VARIABLES; i++) {
      if (strcmp(mode, "with") == 0)
        setenv(variables[i][0], variables[i][1], 1);
      else
        unsetenv(variables[i][0]);
    }
    dup2(ends[1], 1);
    dup2(ends[1], 2);
    close(ends[0]);
    close(ends[1]);
    execl("/proc/self/exe", program, mode, (char *)0);
    _exit(2);
  }
  close(ends[1]);
  while (count + 1 < bytes && (got = read(ends[0], said + count, bytes - 1 - count)) > 0) count += (size_t)got;
  said[count] = 0;
  close(ends[0]);
  if (child < 0 || waitpid(child, &status, 0) < 0) return 2;
  printf("%s: %s", mode, said);
  return status;
}

int main(int argc, char **argv) {
  char without[500], with[500], chosen[500];
  alarm(CLOCK_S);
  if (argc == 2 && strcmp(argv[1], "choose") == 0) return choose();
  if (argc == 2) {
    state();
    return 0;
  }
  if (run_again(argv[0], "without", without, sizeof without)) return 2;
  if (run_again(argv[0], "with", with, sizeof with)) return 2;
  if (!strstr(without, ", 1 threads, 1 in the process, product correct\n")) return 1;
  if (strcmp(without, with) != 0) return 1;
  return run_again(argv[0], "choose", chosen, sizeof chosen) != 0;
}
