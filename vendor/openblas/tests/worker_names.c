/* Workers have the names oblas-0, oblas-1 ..., and no other thread has such a name. */
#include <dirent.h>
#include <string.h>

#include "sgemm.h"

enum { THREADS = 4, CLOCK_S = 30, TRIES = 200 };

/* Bit i is set when a thread has the name oblas-i. */
static unsigned names_seen(int *workers) {
  unsigned seen = 0;
  struct dirent *entry;
  DIR *tasks = opendir("/proc/self/task");
  *workers = 0;
  while (tasks && (entry = readdir(tasks))) {
    char path[300], name[64] = "";
    FILE *comm;
    int index;
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
    comm = fopen(path, "r");
    if (comm && fgets(name, sizeof name, comm) && sscanf(name, "oblas-%d", &index) == 1 && index < 32) {
      seen |= 1U << index;
      ++*workers;
    }
    if (comm) fclose(comm);
  }
  if (tasks) closedir(tasks);
  return seen;
}

int main(void) {
  int workers = 0;
  unsigned wanted = (1U << (THREADS - 1)) - 1, seen = 0;
  alarm(CLOCK_S);
  openblas_set_num_threads(THREADS);
  if (sgemm_is_wrong(256)) return 1;
  /* a worker sets its name when it first runs, which may be later than its creation */
  for (int i = 0; i < TRIES; i++) {
    seen = names_seen(&workers);
    if (seen == wanted) break;
    usleep(10000);
  }
  printf("%d threads are called oblas-N, names 0x%x\n", workers, seen);
  if (seen != wanted || workers != THREADS - 1) {
    fprintf(stderr, "expected %d workers with names 0x%x\n", THREADS - 1, wanted);
    return 1;
  }
  return 0;
}
