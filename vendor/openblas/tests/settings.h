/* Defines what openblas_env.o defines, so that the linker leaves that member of the archive out: `threads` at start, on as many
 * CPUs, and workers that park after 2^`timeout` ticks (0: the default). For tests of a pool that exists before main. */
#ifndef SETTINGS_H
#define SETTINGS_H

#define SETTINGS(threads, timeout) \
  int openblas_verbose(void) { return 0; } \
  unsigned int openblas_thread_timeout(void) { return timeout; } \
  int openblas_block_factor(void) { return 0; } \
  int openblas_num_threads_env(void) { return threads; } \
  int openblas_goto_num_threads_env(void) { return 0; } \
  int openblas_omp_num_threads_env(void) { return 0; } \
  int openblas_omp_adaptive_env(void) { return 0; } \
  void openblas_read_env(void) {}

#endif
