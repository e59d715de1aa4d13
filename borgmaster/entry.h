/*
 * entry.h - applies a committed entry to the cell: one command after the other, large ones in
 * pieces.
 *
 * While a part of an entry is applied, the replica reports the index and the digest of the entry
 * before it. If the process ends now, the log delivers the whole entry again.
 */
#ifndef BORGMASTER_ENTRY_H
#define BORGMASTER_ENTRY_H

#include "proposer.h"

struct entry {
    uint64_t index;       /* index of the entry that is applied in part; 0: none */
    uint64_t digest;      /* digest of the cell before the entry */
    size_t at;            /* offset of the next command in the envelope */
    bool in_command;      /* whether the fields below are in use */
    struct cmd cmd;       /* owned */
    struct answer answer; /* the answer to it */
    struct apply apply;   /* the progress of it */
};

enum entry_went {
    ENTRY_OVER, /* the whole entry is applied */
    ENTRY_NEXT, /* a command is applied, and more follow */
    ENTRY_HALF, /* a piece of a command is applied */
    ENTRY_NONE, /* it cannot be applied here: the replica has to end */
};

/*
 * Apply the next command of the entry, or a piece of it; a new `index` begins another entry after
 * the last is over. `bytes` has the same content in each call and may move. Commands that this
 * replica proposed are answered when they are applied. ENTRY_NONE: `err` says why, the cell has not
 * changed, and no later entry may be applied. The bytes are damaged, or a later release wrote them
 * (ERR_STATE).
 */
enum entry_went entry_go_on(struct entry *entry, struct cell *cell, struct changes *changes,
                            struct proposer *proposer, uint64_t index, const void *bytes,
                            size_t size, struct err *err);
/* Drop the entry: the cell that has a part of it is freed. */
void entry_drop(struct entry *entry);

#endif
