/*
 * entry.h - a committed entry on its way into the cell: its commands one after the other, large
 * ones in pieces.
 *
 * While some of an entry is applied, the replica is that of the entry before it to everybody who
 * asks for an index or a digest; the entry comes again from the log should the process end now.
 */
#ifndef BORGMASTER_ENTRY_H
#define BORGMASTER_ENTRY_H

#include "proposer.h"

struct entry {
    uint64_t index;       /* of the one that is applied in part; 0: none is */
    uint64_t digest;      /* of the cell before it */
    size_t at;            /* the next command in its envelope */
    bool in_command;      /* what follows is in use */
    struct cmd cmd;       /* owned */
    struct answer answer; /* to it */
    struct apply apply;   /* of it */
};

enum entry_went {
    ENTRY_OVER, /* all of it is applied */
    ENTRY_NEXT, /* a command is, and there are more */
    ENTRY_HALF, /* of a command a piece is */
};

/*
 * Go on with the entry, by a command or a piece of one; with `index` another one is begun when the
 * last is over. `bytes` are the same each time, at whatever address. Commands of ours are answered
 * when they are applied. Bytes that cannot be unpacked are a panic.
 */
enum entry_went entry_go_on(struct entry *entry, struct cell *cell, struct changes *changes,
                            struct proposer *proposer, uint64_t index, const void *bytes,
                            size_t size);
/* Forget it: the cell that has some of it is given up. */
void entry_drop(struct entry *entry);

#endif
