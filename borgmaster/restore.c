/*
 * restore.c - makes a Raft directory from a checkpoint.
 */
#include "restore.h"

#include "log.h"
#include "raftlog.h"
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int empty_check(const char *dir, struct err *err)
{
    static const char *const names[] = {"raft", "cell.db"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[CELL_PATH_MAX + 16];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        if (access(path, F_OK) == 0)
            return err_set(err, ERR_EXISTS,
                           "%s holds a replica already (%s): a checkpoint is restored only into an "
                           "empty directory",
                           dir, names[i]);
    }
    return 0;
}

int restore_replica(const struct cell_file *file, uint64_t id, const char *dir,
                    const char *checkpoint, uint64_t at_s, struct err *err)
{
    char raft[CELL_PATH_MAX + 16], temporary[CELL_PATH_MAX + 16];
    struct store_restored image;
    uint64_t identity;
    snprintf(raft, sizeof raft, "%s/raft", dir);
    snprintf(temporary, sizeof temporary, "%s/restore.db", dir);
    int rv = empty_check(dir, err);
    if (rv == 0)
        rv = cell_file_identity(file, &identity, err);
    if (rv == 0)
        rv = store_restore(checkpoint, temporary, identity, at_s, &image, err);
    if (rv != 0)
        return rv;
    struct raftlog_seed seed = {.dir = raft,
                                .cell = file->name,
                                .id = id,
                                .member_count = file->replica_count,
                                .index = image.index,
                                .term = image.term,
                                .bytes = image.bytes,
                                .size = image.size};
    for (size_t i = 0; i < file->replica_count; i++) {
        seed.members[i].id = file->replicas[i].id;
        str_copy(seed.members[i].address, sizeof seed.members[i].address, file->replicas[i].raft);
    }
    rv = raftlog_seed(&seed, err);
    free(image.bytes);
    if (rv == 0)
        log_info("master.restored checkpoint=%s index=%" PRIu64 " term=%" PRIu64 " bytes=%zu",
                 log_quoted(checkpoint), image.index, image.term, image.size);
    return rv;
}
