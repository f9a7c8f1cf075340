// Reads a plan as tests/src/bench/frames.rs prints it.
#pragma once
#include "vary.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 4096

static void die(const char *what)
{
    perror(what);
    exit(1);
}

// Reads `path` into `p`, and the longest frame into `frame`; returns its length.
static int read_plan(const char *path, struct plan *p, __u8 *frame)
{
    char word[16], hex[2 * LONGEST + 2];
    int length = 0;
    FILE *file = fopen(path, "r");
    if (!file)
        die(path);
    memset(p, 0, sizeof *p);
    while (fscanf(file, "%15s", word) == 1) {
        int read = 0, wanted = -1;
        if (!strcmp(word, "frame")) {
            wanted = 1;
            read = fscanf(file, "%8192s", hex);
            for (; length < LONGEST && hex[2 * length]; length++)
                sscanf(hex + 2 * length, "%2hhx", frame + length);
        } else if (!strcmp(word, "layout")) {
            wanted = 5;
            read = fscanf(file, "%hu %hu %hu %hu %hu", &p->outer_ip, &p->outer_udp, &p->nsh,
                          &p->inner_ip, &p->inner_udp);
        } else if (!strcmp(word, "flows")) {
            wanted = 1;
            read = fscanf(file, "%u", &p->flows);
        } else if (!strcmp(word, "paths")) {
            wanted = 2;
            read = fscanf(file, "%u %u", &p->paths, &p->first_path);
        } else if (!strcmp(word, "checksum")) {
            wanted = 1;
            read = fscanf(file, "%hu", &p->checksum);
        } else if (!strcmp(word, "size") && p->sizes < 4) {
            struct size *s = &p->size[p->sizes++];
            wanted = 8;
            read = fscanf(file, "%hu %hu %hu %hu %hu %hu %hu %hu", &s->cut, &s->outer_len,
                          &s->outer_ip_sum, &s->outer_udp_len, &s->inner_len, &s->inner_ip_sum,
                          &s->inner_udp_len, &s->udp_sum);
        } else if (!strcmp(word, "slots")) {
            wanted = 16;
            while (read < wanted && fscanf(file, "%hhu", &p->slots[read]) == 1)
                read++;
        }
        if (read != wanted) {
            fprintf(stderr, "%s: cannot read '%s'\n", path, word);
            exit(1);
        }
    }
    fclose(file);
    memcpy(p->head, frame, HEAD);
    return length;
}
