/* Fails where TLS, data, bss, constructors, threads or the allocator do not work. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static _Thread_local int counter = 41;
static _Thread_local char zeroed[300];
static int *volatile pointer = 0;
static int values[2000] = {1, 2, 3};
static char bss[100000];
static void *run(void *argument) {
    char *copy = malloc(1000);
    memset(copy, counter, 1000);
    counter += zeroed[299] + copy[999] - 41 + 1;
    *(int *)argument = counter - 40;
    free(copy);
    return argument;
}
static int first;
__attribute__((constructor)) static void construct(void) { first = 7; }
int main(int argc, char **argv) {
    pthread_t thread;
    int sum = 0, result = 0;
    if (pthread_create(&thread, 0, run, &result) || pthread_join(thread, 0)) return 3;
    for (int i = 0; i < 2000; i++) sum += values[i];
    for (int i = 0; i < 100000; i++) sum += bss[i];
    printf("constructor %d, data %d, thread %d, own %d\n", first, sum, result, counter);
    return 0;
}
