/*
 * loss.c - how fast machines that fell silent are declared down, and when the cell holds still.
 */
#include "loss.h"

static bool is_large(const struct loss_seen *seen)
{
    return seen->quiet >= LOSS_HOLD_MIN && (uint64_t)seen->quiet * LOSS_HOLD_PART > seen->machines;
}

/* Machines that a dead switch took away do not all come back in one moment. Those that are still
 * silent when most are heard again must not be declared down for the head start of the others. */
static bool has_passed(const struct loss *loss, const struct loss_seen *seen, uint64_t mono_ms,
                       uint64_t settle_ms)
{
    bool calm = loss->calm_since_ms != 0;
    return calm && (seen->quiet == 0 || mono_ms - loss->calm_since_ms > settle_ms);
}

enum hold loss_hold(struct loss *loss, enum hold now, const struct loss_seen *seen,
                    uint64_t mono_ms, uint64_t settle_ms)
{
    ASSERT(seen->silent <= seen->quiet && seen->quiet <= seen->machines);
    if (loss->started_ms == 0)
        loss->started_ms = mono_ms;
    if (now != HOLD_ON)
        loss->held_since_ms = 0;
    else if (loss->held_since_ms == 0)
        loss->held_since_ms = mono_ms;
    if (now != HOLD_ON || is_large(seen))
        loss->calm_since_ms = 0;
    else if (loss->calm_since_ms == 0)
        loss->calm_since_ms = mono_ms;
    bool settled = mono_ms - loss->started_ms > settle_ms; /* else nobody can be silent yet */
    switch (now) {
    case HOLD_OFF:
        return seen->silent > 0 && is_large(seen) ? HOLD_ON : HOLD_OFF;
    case HOLD_ON:
        if (settled && has_passed(loss, seen, mono_ms, settle_ms))
            return HOLD_OFF;
        return mono_ms - loss->held_since_ms > LOSS_HOLD_MS ? HOLD_RELEASED : HOLD_ON;
    case HOLD_RELEASED: /* until all are declared down or back */
        return settled && seen->silent == 0 ? HOLD_OFF : HOLD_RELEASED;
    case HOLD_COUNT:
        break;
    }
    UNREACHABLE("hold");
}

uint32_t loss_allow(struct loss *loss, enum hold hold, const struct loss_seen *seen,
                    uint64_t mono_ms)
{
    uint64_t burst = UINT64_C(1000) * MAX(LOSS_BURST_MIN, seen->machines / LOSS_BURST_PART);
    uint64_t per_second = UINT64_C(1000) * MAX(LOSS_SECOND_PART, seen->machines) / LOSS_SECOND_PART;
    uint64_t elapsed_ms = MIN(mono_ms - loss->refilled_ms, UINT64_C(1000000));
    loss->tokens =
        loss->refilled_ms == 0 ? burst : MIN(burst, loss->tokens + elapsed_ms * per_second / 1000);
    loss->refilled_ms = mono_ms;
    return hold == HOLD_ON ? 0 : (uint32_t)MIN(loss->tokens / 1000, (uint64_t)seen->silent);
}

void loss_spend(struct loss *loss, uint32_t machines)
{
    ASSERT(loss->tokens >= UINT64_C(1000) * machines);
    loss->tokens -= UINT64_C(1000) * machines;
}
