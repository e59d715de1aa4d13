/*
 * seeds.c - write the initial inputs of fuzz_proto: every message and every kind of command.
 *
 *     seeds DIR
 *
 * There are two of each, drawn as in the unit tests: a small one, which is fast to parse and
 * mutate, and one with more contents.
 */
#include "cmd_pack.h"
#include "proto_input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { DRAWS = 40, LARGE_BYTES = 2000 };

static const char *dir;
static uint32_t written;

static void seed_write(const char *name, const char *size_name, const struct buf *bytes)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s-%s", dir, name, size_name);
    FILE *f = fopen(path, "we");
    if (f == NULL || fwrite(bytes->bytes, 1, bytes->size, f) != bytes->size || fclose(f) != 0) {
        fprintf(stderr, "seeds: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    written++;
}

/* Draw one input of the kind `which` into `to`. */
typedef void (*draw_fn)(struct random *r, uint32_t which, struct buf *to);

/* Write the smallest of some draws, and the largest that is within the size limit. */
static void seeds_write(const char *name, char first, draw_fn draw, uint32_t which)
{
    struct buf small = {0}, large = {0};
    struct random random = {which};
    for (int i = 0; i < DRAWS; i++) {
        struct buf bytes = {0};
        buf_append(&bytes, &first, 1);
        draw(&random, which, &bytes);
        if (small.size == 0 || bytes.size < small.size) {
            buf_clear(&small);
            buf_append(&small, bytes.bytes, bytes.size);
        }
        if (bytes.size <= LARGE_BYTES && bytes.size > large.size) {
            buf_clear(&large);
            buf_append(&large, bytes.bytes, bytes.size);
        }
        buf_release(&bytes);
    }
    seed_write(name, "small", &small);
    if (large.size > small.size)
        seed_write(name, "large", &large);
    buf_release(&small), buf_release(&large);
}

static void draw_cmd(struct random *r, uint32_t kind, struct buf *to)
{
    struct cmd cmd;
    struct err err;
    random_cmd(r, (enum cmd_kind)kind, &cmd);
    if (cmd_pack(&cmd, to, &err) != 0)
        PANIC("%s", err.msg);
    cmd_release(&cmd);
}

static void draw_spec(struct random *r, uint32_t which UNUSED, struct buf *to)
{
    struct job_spec spec;
    random_spec(r, &spec);
    spec_pack(&spec, to);
    spec_release(&spec);
}

static void draw_envelope(struct random *r, uint32_t which UNUSED, struct buf *to)
{
    for (int i = 0; i < 2; i++) {
        struct buf CLEANUP(buf_release) cmd = {0};
        draw_cmd(r, i == 0 ? CMD_JOB_KILL : CMD_REPORT, &cmd);
        envelope_add(to, cmd.bytes, cmd.size);
    }
}

static void draw_message(struct random *r, uint32_t kind, struct buf *to)
{
    union wire_any body;
    message_random(&wire_messages[kind], r, &body);
    message_pack(&wire_messages[kind], to, &body);
    message_release(&wire_messages[kind], &body);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: seeds DIR\n");
        return 2;
    }
    dir = argv[1];
    for (uint32_t kind = 1; kind < CMD_KIND_COUNT; kind++)
        seeds_write(cmd_kind_text((enum cmd_kind)kind), PROTO_CMD, draw_cmd, kind);
    seeds_write("spec", PROTO_SPEC, draw_spec, 0);
    seeds_write("envelope", PROTO_ENVELOPE, draw_envelope, 0);
    for (uint32_t kind = 0; kind < WIRE_MESSAGES; kind++)
        seeds_write(wire_messages[kind].name, (char)(PROTO_MESSAGE + kind), draw_message, kind);
    printf("%u seeds\n", written);
    return 0;
}
