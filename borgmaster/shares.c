/*
 * shares.c - computes equal shares, with some slack.
 */
#include "shares.h"

struct share_move shares_move(const struct share *shares, size_t count, uint64_t from)
{
    const struct share *giver = NULL, *least = NULL;
    uint64_t sum = 0, takers = 0;
    for (size_t i = 0; i < count; i++) {
        if (!shares[i].takes)
            continue;
        takers++;
        sum += shares[i].links;
        if (shares[i].id == from)
            giver = &shares[i];
        else if (least == NULL || shares[i].links < least->links)
            least = &shares[i];
    }
    if (giver == NULL || least == NULL)
        return (struct share_move){0};
    uint64_t equal = (sum + takers - 1) / takers;
    uint64_t slack = equal * SHARES_SLACK_PERCENT / 100 + SHARES_SLACK;
    if (giver->links <= equal + slack || least->links >= equal)
        return (struct share_move){0};
    uint64_t moves = MIN(giver->links - equal, equal - least->links);
    return (struct share_move){least->id, (uint32_t)MIN(moves, (uint64_t)SHARES_MOVE_MAX)};
}
