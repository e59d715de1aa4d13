/*
 * raftlog_acked.h - what other replicas have stored for all we know: what followers acknowledged to
 * us while we led, and what a leader told us was committed.
 *
 * Whoever comes back with less has lost what others count on, or is an old copy of itself, and must
 * not vote. Kept in a file that is not forced to the disk: after a power cut it may know less,
 * never more. A file that is damaged is one that knows nothing.
 */
#ifndef RAFTLOG_ACKED_H
#define RAFTLOG_ACKED_H

#include "base.h"

enum { ACKED_ROWS = 16 };

struct raftlog_acked {
    int fd; /* -1: closed, or it cannot be written; then it is of this life only */
    struct acked_row {
        uint64_t id; /* 0: free. A number is never given again, so rows are never wrong, but old */
        uint64_t index;
        uint64_t noted_ms; /* monotonic: when it last grew; of what the file had, when that was
                              written */
    } rows[ACKED_ROWS];
    bool changed; /* since it was saved */
};

void raftlog_acked_open(struct raftlog_acked *acked, const char *dir);
void raftlog_acked_close(struct raftlog_acked *acked);
/* Replica `id` has stored all up to `index`, which is committed. */
void raftlog_acked_note(struct raftlog_acked *acked, uint64_t id, uint64_t index, uint64_t now_ms);
const struct acked_row *raftlog_acked_find(const struct raftlog_acked *acked,
                                           uint64_t id); /* NULL: nothing is known */
/* One small write, when something has changed. */
void raftlog_acked_save(struct raftlog_acked *acked);

#endif
