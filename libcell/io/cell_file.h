/*
 * cell_file.h - cell.json: the addresses of a cell's replicas and its CA.
 *
 *     {"cell": "dev", "ca": "pki/ca.crt",
 *      "replicas": [{"id": 1, "rpc": "127.0.0.1:7101", "raft": "127.0.0.1:7201"}, ...]}
 *
 * Relative paths are relative to the file. All programs read it; `borgctl cell up` and the commands
 * that change the replicas write it. It is only a starting point: the authoritative list of
 * replicas is the cell's table `replicas`.
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

/* Read a cell file. Errors contain the file's name and the path of the field. */
int cell_file_load(const char *path, struct cell_file *ret, struct err *err) MUST_USE;
/* Return a hash of the cell's name and the key of its (first) CA. It identifies the cell in
 * stored files. */
int cell_file_identity(const struct cell_file *file, uint64_t *ret, struct err *err) MUST_USE;
/* Write a cell file atomically (temporary file, fsync, rename). */
int cell_file_save(const char *path, const struct cell_file *file, struct err *err) MUST_USE;

#endif
