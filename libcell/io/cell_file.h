/*
 * cell_file.h - cell.json: where the replicas of a cell are and who vouches for them.
 *
 *     {"cell": "dev", "ca": "pki/ca.crt",
 *      "replicas": [{"id": 1, "rpc": "127.0.0.1:7101", "raft": "127.0.0.1:7201"}, ...]}
 *
 * Relative paths are relative to the file. Read by all programs, written by `borgctl cell up` and
 * by those who change the replicas. It is where one begins to look: the cell itself knows its
 * replicas best (table `replicas`).
 */
#ifndef CELL_CELL_FILE_H
#define CELL_CELL_FILE_H

#include "err.h"
#include "limits.h"

enum { CELL_REPLICAS_MAX = MASTER_ROWS_MAX, CELL_PATH_MAX = 1023 };

struct cell_replica {
    uint64_t id; /* 1 to 2^31 */
    char rpc[CELL_ADDR_MAX + 1];
    char raft[CELL_ADDR_MAX + 1];
};

struct cell_file {
    char name[CELL_NAME_MAX + 1];
    char ca_path[CELL_PATH_MAX + 1]; /* absolute after loading */
    struct cell_replica replicas[CELL_REPLICAS_MAX];
    size_t replica_count; /* 1 to CELL_REPLICAS_MAX */
};

/* Every mistake is told with the file's name and the field's path. */
int cell_file_load(const char *path, struct cell_file *ret, struct err *err) MUST_USE;
/* A hash of its name and the key of its (first) CA: what was written for another cell is not for
 * this one. */
int cell_file_identity(const struct cell_file *file, uint64_t *ret, struct err *err) MUST_USE;
/* Atomically (temporary file, fsync, rename). */
int cell_file_save(const char *path, const struct cell_file *file, struct err *err) MUST_USE;

#endif
