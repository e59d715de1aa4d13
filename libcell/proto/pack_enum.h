/*
 * pack_enum.h - enumerations as bytes: how many values one has follows from its type, here and
 * nowhere else, so what is written and what is read cannot have different bounds.
 *
 * A new enumeration is a line; without one, pack_enum() of it does not compile. (enum policy is
 * that of specs, which has one value more than a cell may have: cell_apply() refuses that one.)
 */
#ifndef CELL_PACK_ENUM_H
#define CELL_PACK_ENUM_H

#include "pack.h"
#include "wire.h"

#define PACK_ENUMS(X) \
    X(err_code, ERR_CODE_COUNT) \
    X(cmd_kind, CMD_KIND_COUNT) \
    X(among, AMONG_COUNT) \
    X(band, BAND_COUNT) \
    X(master_state, MASTER_STATE_COUNT) \
    X(hold, HOLD_COUNT) \
    X(policy, POLICY_SPEC_COUNT) \
    X(appclass, APPCLASS_COUNT) \
    X(restart, RESTART_COUNT) \
    X(term_op, OP_COUNT) \
    X(report_kind, REPORT_KIND_COUNT) \
    X(cause, CAUSE_COUNT) \
    X(intent_action, INTENT_ACTION_COUNT) \
    X(report_fault, REPORT_FAULT_COUNT) \
    X(revoke, REVOKE_COUNT)

#define PACK_ENUM_FUNCTION(name, count) \
    static inline void pack_enum_##name(struct pack *p, enum name *value) \
    { \
        unsigned number = (unsigned)*value; \
        pack_below(p, &number, (count)); \
        if (p->reading) \
            *value = (enum name)number; \
    }
PACK_ENUMS(PACK_ENUM_FUNCTION)

#define PACK_ENUM_CASE(name, count) , enum name * : pack_enum_##name
/* `value` points to the variable. */
#define pack_enum(p, value) _Generic((value)PACK_ENUMS(PACK_ENUM_CASE))((p), (value))

#endif
