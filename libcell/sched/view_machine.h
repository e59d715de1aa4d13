/*
 * view_machine.h - what the view knows of one machine beside its columns (view.h).
 */
#ifndef CELL_VIEW_MACHINE_H
#define CELL_VIEW_MACHINE_H

#include "words.h"

enum { VIEW_NO_MACHINE = UINT32_MAX };

/* What a machine says of itself. */
struct facts {
    struct words attributes;
    char name[];
};

/* The direction of an amount of cpu, ram and gpus: the largest has LEAN_BITS bits, or all are 0. */
enum { LEAN_BITS = 14 };
struct lean {
    uint16_t cpu, ram, gpu;
};

enum { VIEW_SCARCITY_LEVELS = 4 };
/* What figures of fit read of a machine. */
struct trait {
    int64_t spare;      /* room normalized and summed over resources */
    struct lean room;   /* as shares of the machine's total */
    struct lean aspect; /* times a lean of amounts is a lean of shares of its total */
    uint32_t scarcity;  /* scarce.c: 0 to VIEW_SCARCITY_LEVELS - 1 */
};

#endif
