/*
 * pattern.h - regular expressions whose cost is known before they run: an expression of a stranger
 * is compiled and matched in bounded time and memory.
 *
 * The grammar is that of POSIX extended regular expressions without what makes them slow or
 * ambiguous:
 *
 *     a  .  \.             a character, any character, a special character taken literally
 *     [a-z_]  [^[:digit:]] one of these, none of these; classes are those of ASCII
 *     ^  $                 the start, the end of the text
 *     ab  a|b  (a)         one after the other, one or the other, a group
 *     * + ? {2} {2,} {2,5} of what stands before: how often
 *
 * Refused are back references, [=a=], [.a.] and whatever POSIX leaves undefined, but for a
 * quantifier after a quantifier: a** is (a*)*. A character is one of UTF-8; a byte that belongs to
 * none counts as a character that equals no other but . and [^...]. A text is matched as a whole.
 *
 * The bound. Each leaf of the expression and each of | * + ? is one state, {m,n} is its part
 * written out, and what exceeds PATTERN_STATES_MAX is refused before a state is made; the number is
 * computed in one walk. A match keeps the set of states it may be in. For each character of the
 * text it visits each of them at most once, in constant time, since a state that is in the set is
 * not entered again; and it looks at each range of each bracket once, of which there are fewer than
 * bytes in the expression. So a match takes at most
 *
 *     (characters of the text + 1) x (states + bytes of the expression)
 *
 * steps, uses two sets of PATTERN_STATES_MAX on the stack and allocates nothing.
 */
#ifndef CELL_PATTERN_H
#define CELL_PATTERN_H

#include "err.h"
#include "limits.h"

struct pattern;

/* NULL and ERR_INVALID that says where and why, or how far it is over which limit. */
struct pattern *pattern_new(const char *text, struct err *err) MUST_USE;
void pattern_free(struct pattern *pattern); /* NULL is fine */
/* Does it match the whole text? */
bool pattern_matches(const struct pattern *pattern, const char *text);

uint32_t pattern_states(const struct pattern *pattern);
/* What it occupies. */
size_t pattern_bytes(const struct pattern *pattern);

#endif
