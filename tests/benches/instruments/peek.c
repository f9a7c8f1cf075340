// peek INTERFACE COUNT MILLISECONDS: prints the first frames that arrive, in hexadecimal, a line
// each.
#define _GNU_SOURCE
#include "ring.h"
#include <time.h>

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    static uint8_t frame[4096];
    if (argc != 4) {
        fprintf(stderr, "usage: peek INTERFACE COUNT MILLISECONDS\n");
        return 2;
    }
    int in = packet_socket();
    bind_packet(in, argv[1], 1);
    printf("ready\n");
    fflush(stdout);
    long end = now() + atol(argv[3]);
    for (int left = atoi(argv[2]); left > 0;) {
        struct pollfd wanted = {in, POLLIN, 0};
        long patience = end - now();
        if (patience <= 0 || poll(&wanted, 1, patience) <= 0)
            break;
        ssize_t length = recv(in, frame, sizeof frame, 0);
        for (ssize_t at = 0; at < length; at++)
            printf("%02x", frame[at]);
        if (length > 0) {
            printf("\n");
            left--;
        }
    }
    return 0;
}
