/*
 * pattern.h - regular expressions that are compiled and matched in bounded time and memory, because
 * untrusted users write them.
 *
 * The grammar is a subset of POSIX extended regular expressions without slow or ambiguous
 * features:
 *
 *     a  .  \.             a character, any character, a special character taken literally
 *     [a-z_]  [^[:digit:]] one of these, none of these; classes are ASCII classes
 *     ^  $                 the start, the end of the text
 *     ab  a|b  (a)         one after the other, one or the other, a group
 *     * + ? {2} {2,} {2,5} repetition of the preceding item
 *
 * Back references, [=a=], [.a.] and everything that POSIX leaves undefined are refused, except a
 * quantifier after a quantifier: a** is (a*)*. Characters are UTF-8; a byte that is not part of a
 * character is matched only by . and [^...]. A match covers the whole text.
 *
 * Cost: each leaf of the expression and each | * + ? is one state; {m,n} counts expanded. The
 * number of states is computed in one pass, and an expression of more than PATTERN_STATES_MAX
 * states is refused before any state is created. The matcher keeps the set of active states. For
 * each character of the text it visits each state at most once, in constant time, and each range of
 * each bracket expression once; there are fewer ranges than bytes in the expression. A match
 * therefore takes at most
 *
 *     (characters of the text + 1) x (states + bytes of the expression)
 *
 * steps. It uses two sets of PATTERN_STATES_MAX on the stack and allocates nothing.
 */
#ifndef CELL_PATTERN_H
#define CELL_PATTERN_H

#include "err.h"
#include "limits.h"

struct pattern;

/* Compile an expression. Return NULL and ERR_INVALID with the position and the reason, or with the
 * exceeded limit. */
struct pattern *pattern_new(const char *text, struct err *err) MUST_USE;
void pattern_free(struct pattern *pattern); /* accepts NULL */
/* Return whether the pattern matches the whole text. */
bool pattern_matches(const struct pattern *pattern, const char *text);

uint32_t pattern_states(const struct pattern *pattern);
/* Return the bytes that the pattern occupies. */
size_t pattern_bytes(const struct pattern *pattern);

#endif
