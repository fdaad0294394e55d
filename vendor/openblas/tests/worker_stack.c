/* Every worker has the stack size of release.toml, also in a program that was linked without the flag: link this with
 * `-z stack-size=131072`; musl then gives a thread 128 KiB unless its attributes request more.
 *
 * The program measures: it waits until the workers are parked, reads the stack pointer of each from the kernel, and takes the
 * mapping below it as the stack. A guard page must be right below the mapping.
 *
 * Compile with -DSTACK_SIZE_BYTES=N, the value of release.toml; there is no default here. */
#include <dirent.h>
#include <string.h>

#include "settings.h"
#include "sgemm.h"

SETTINGS(2, 20) /* park early */

enum { THREADS = 4, CLOCK_S = 30 };

#ifndef STACK_SIZE_BYTES
#error "compile with -DSTACK_SIZE_BYTES=N, the stack_size of release.toml in bytes"
#endif
static const unsigned long WANTED_BYTES = STACK_SIZE_BYTES;
/* frames between the top of the stack and the wait, thread descriptor and TLS included */
static const unsigned long SLACK_BYTES = 64UL << 10;

/* Stack pointer of a thread that waits in the kernel; 0 while it runs. */
static unsigned long parked_stack_pointer(const char *tid) {
  char path[300], line[512], *field;
  unsigned long sp = 0, last = 0;
  FILE *file;
  snprintf(path, sizeof path, "/proc/self/task/%s/syscall", tid);
  file = fopen(path, "r");
  if (!file || !fgets(line, sizeof line, file) || line[0] == 'r') {
    if (!file) perror(path);
    if (file) fclose(file);
    return 0;
  }
  fclose(file);
  for (field = strtok(line, " \n"); field; field = strtok(NULL, " \n")) { /* the last but one is the stack pointer */
    sp = last;
    last = strtoul(field, NULL, 16);
  }
  return sp;
}

/* Bytes from the start of the mapping that holds `sp` up to `sp`; 0 when there is no guard right below. */
static unsigned long stack_below(unsigned long sp) {
  char line[512], mode[8];
  unsigned long start, end, guard_end = 0, found = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  if (!maps) return 0;
  while (!found && fgets(line, sizeof line, maps)) {
    if (sscanf(line, "%lx-%lx %7s", &start, &end, mode) != 3) continue;
    if (sp >= start && sp < end && guard_end == start) found = sp - start;
    guard_end = strcmp(mode, "---p") == 0 ? end : 0;
  }
  fclose(maps);
  return found;
}

static int measure(void) {
  int workers = 0, small = 0;
  struct dirent *entry;
  DIR *tasks = opendir("/proc/self/task");
  if (!tasks) {
    perror("/proc/self/task");
    return 2;
  }
  while ((entry = readdir(tasks))) {
    unsigned long sp = 0, bytes;
    if (entry->d_name[0] == '.' || atoi(entry->d_name) == getpid()) continue;
    while (!(sp = parked_stack_pointer(entry->d_name))) usleep(10000);
    bytes = stack_below(sp);
    printf("worker %s: %lu bytes below its stack pointer, above a guard\n", entry->d_name, bytes);
    if (bytes < WANTED_BYTES - SLACK_BYTES) small++;
    workers++;
  }
  closedir(tasks);
  if (workers != THREADS - 1) {
    fprintf(stderr, "expected %d workers, found %d\n", THREADS - 1, workers);
    return 1;
  }
  return small != 0;
}

int main(void) {
  alarm(CLOCK_S);
  openblas_set_num_threads(THREADS); /* one worker from the start, on two CPUs; the others by the second create site */
  if (sgemm_is_wrong(512)) return 1;
  return measure();
}
