/*
 * raftlog_acked.h - the entries that other replicas are known to have stored: what followers
 * acknowledged to us while we led, and what a leader announced as committed.
 *
 * A replica that returns with less has lost data that others rely on, or runs on an old copy of its
 * directory, and must not vote. The table is kept in a file that is not synced: after a power
 * failure it may be behind, but never ahead. A damaged file counts as an empty one.
 */
#ifndef RAFTLOG_ACKED_H
#define RAFTLOG_ACKED_H

#include "base.h"

enum { ACKED_ROWS = 16 };

struct raftlog_acked {
    int fd; /* -1: closed or not writable; the table then lasts for this run only */
    struct acked_row {
        uint64_t id; /* 0: free row. Numbers are never reused, so a row can be old but not wrong */
        uint64_t index;
        uint64_t noted_ms; /* monotonic time of its last increase; for rows from the file, of the
                              file's last write */
    } rows[ACKED_ROWS];
    bool changed; /* since the last save */
};

void raftlog_acked_open(struct raftlog_acked *acked, const char *dir);
void raftlog_acked_close(struct raftlog_acked *acked);
/* Record that replica `id` has stored all entries up to `index`, which is committed. */
void raftlog_acked_note(struct raftlog_acked *acked, uint64_t id, uint64_t index, uint64_t now_ms);
const struct acked_row *raftlog_acked_find(const struct raftlog_acked *acked,
                                           uint64_t id); /* NULL: unknown */
/* Write the table, in one small write, if it has changed. */
void raftlog_acked_save(struct raftlog_acked *acked);

#endif
