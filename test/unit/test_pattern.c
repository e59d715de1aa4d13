/*
 * test_pattern.c - expressions against the C library's, refusals, and what they may cost.
 */
#include "cell_fixture.h"
#include "hash.h"
#include "pattern.h"

#include <locale.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What the C library says: -1 no expression, else whether it matches the whole text. */
static int oracle(const char *pattern, const char *text)
{
    regex_t compiled;
    CLEANUP(buf_release) struct buf whole = {0};
    buf_printf(&whole, "^(%s)$", pattern);
    if (regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return -1;
    regfree(&compiled);
    if (regcomp(&compiled, buf_text(&whole), REG_EXTENDED | REG_NOSUB) != 0)
        return -1;
    int rc = regexec(&compiled, text, 0, NULL, 0);
    regfree(&compiled);
    return rc == 0;
}

static int ours(const char *text, const char *of)
{
    struct pattern *pattern = pattern_new(text, NULL);
    int rc = pattern == NULL ? -1 : pattern_matches(pattern, of);
    pattern_free(pattern);
    return rc;
}

static const char *const texts[] = {
    "",
    "a",
    "b",
    "ab",
    "ba",
    "aa",
    "aab",
    "abab",
    "aaaa",
    "aaaaa",
    "abc",
    "a.b",
    "a-b",
    "a]b",
    "]",
    "-",
    "^",
    "$",
    "\\",
    "a\\",
    "a|b",
    "(a)",
    "a*",
    "a{2}",
    "}",
    "a}",
    "5",
    "12",
    "r12",
    "A",
    "Z9",
    " ",
    "\t",
    "x86_64",
    "6.1.0-18+deb12",
    "web-017",
    "_",
    "[",
    "a[",
    "\n",
    "a\nb",
    "~",
    "\177",
    "\303\266",
    "r\303\266",
    "\303\266\303\266",
    "\342\202\254",
    "\360\237\230\200",
    "a\303\266b",
};

static const char *const patterns[] = {
    "a",
    "ab",
    "a|b",
    "a|b|ab",
    "a||b",
    "a|",
    "|a",
    "()",
    "(a)",
    "(a|b)c",
    "((a))",
    "a*",
    "a+",
    "a?",
    "a*b*",
    "(ab)*",
    "(a|b)*",
    "(a*)*",
    "(a*)+",
    "(a+)*",
    "(a?)*",
    "(a|)*",
    "()*",
    "(()a)*",
    "a**",
    "a+*",
    "a?+",
    "a{0}",
    "a{0,0}b",
    "a{1}",
    "a{2}",
    "a{2,}",
    "a{0,}",
    "a{,2}",
    "a{2,4}",
    "(ab){2}",
    "(a{2}){2}",
    "(a|ab){2,3}",
    "a{2}{2}",
    ".",
    "..",
    ".*",
    ".+",
    "a.b",
    "^a$",
    "^a",
    "a$",
    "^$",
    "^",
    "$",
    "^^a",
    "a$$",
    "(^a|b)",
    "(a$|b)",
    "a^b",
    "a$b",
    "(^)*a",
    "(^|a)b",
    "a($|b)",
    "(a|^)*b",
    "[ab]",
    "[^ab]",
    "[a-c]+",
    "[]a]",
    "[^]a]",
    "[a-]",
    "[-a]",
    "[a^]",
    "[]]",
    "[^]]",
    "[[]",
    "[a[]",
    "[\\]",
    "a[\\]",
    "[.]",
    "[*]",
    "[|]+",
    "[%--]",
    "[--/]",
    "[]-a]",
    "[[:alpha:]]",
    "[[:digit:]]+",
    "[[:alnum:]_]+",
    "[^[:alnum:]]",
    "[[:upper:]][[:digit:]]",
    "[[:space:]]",
    "[[:blank:]]",
    "[[:punct:]]",
    "[[:print:]]",
    "[[:graph:]]",
    "[[:cntrl:]]",
    "[[:xdigit:]]+",
    "[[:lower:]a-b5]",
    "a\\.b",
    "\\^",
    "\\$",
    "\\\\",
    "a\\|b",
    "\\(a\\)",
    "a\\*",
    "a\\{2\\}",
    "a\\{2}",
    "}",
    "a}",
    "]",
    "a]b",
    "\\[",
    "a\\-b",
    "\\]",
    "x86_[0-9]{2}",
    "6\\.[0-9]\\..*",
    "[0-9.]+-[0-9]+\\+deb(11|12)",
    "r[0-9]{1,3}",
    "(web|db)-[0-9]{3}",
    "\303\266",
    "\303\266{2}",
    "[\303\266]",
    "[^\303\266]",
    "r.",
    "a.b",
};

START_TEST(an_expression_says_what_the_c_library_says)
{
    setlocale(LC_ALL, "C.UTF-8"); /* there its classes hold more than ASCII */
    bool has_class = strstr(patterns[_i], "[:") != NULL;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (has_class && texts[i][strcspn(texts[i], "\303\342\360")] != '\0')
            continue;
        int expected = oracle(patterns[_i], texts[i]);
        ck_assert_int_ge(expected, 0);
        ck_assert_msg(ours(patterns[_i], texts[i]) == expected, "\"%s\" of \"%s\": not %d",
                      patterns[_i], texts[i], expected);
    }
}
END_TEST

static uint64_t random_next(uint64_t *random)
{
    return *random = hash_add(*random, 1);
}

/* A random expression of the grammar, not too deep. */
static void draw_pattern(struct buf *to, uint64_t *random, int depth)
{
    static const char *const atoms[] = {"a", "b", "c", ".", "[ab]", "[^a]", "[b-c]", "\\."};
    static const char *const quantifiers[] = {"*",     "+",    "?",     "{2}",
                                              "{0,2}", "{1,}", "{1,3}", "{0}"};
    uint64_t r = random_next(random);
    unsigned which = depth == 0 ? 0 : (unsigned)(r % 6);
    if (which <= 1) {
        buf_printf(to, "%s", atoms[(r >> 8) % ARRAY_SIZE(atoms)]);
    } else if (which <= 3) {
        draw_pattern(to, random, depth - 1);
        draw_pattern(to, random, depth - 1);
    } else if (which == 4) {
        buf_printf(to, "(");
        draw_pattern(to, random, depth - 1);
        buf_printf(to, (r >> 8) % 2 == 0 ? "|" : "|()");
        draw_pattern(to, random, depth - 1);
        buf_printf(to, ")");
    } else {
        buf_printf(to, "(");
        draw_pattern(to, random, depth - 1);
        buf_printf(to, ")%s", quantifiers[(r >> 8) % ARRAY_SIZE(quantifiers)]);
    }
}

START_TEST(random_expressions_say_what_the_c_library_says)
{
    uint64_t random = 7000 + (uint64_t)_i, compared = 0, matched = 0;
    for (int round = 0; round < 400; round++) {
        CLEANUP(buf_release) struct buf pattern = {0};
        draw_pattern(&pattern, &random, 3);
        if (pattern.size > PATTERN_BYTES_MAX)
            continue;
        for (int k = 0; k < 12; k++) {
            char text[8] = "";
            uint64_t r = random_next(&random);
            for (unsigned c = 0; c < r % ARRAY_SIZE(text); c++)
                text[c] = "aabbc.d"[(r >> (8 + 4 * c)) % 7];
            int expected = oracle(buf_text(&pattern), text);
            ck_assert_int_ge(expected, 0);
            ck_assert_msg(ours(buf_text(&pattern), text) == expected, "\"%s\" of \"%s\": not %d",
                          buf_text(&pattern), text, expected);
            compared++;
            matched += (uint64_t)expected;
        }
    }
    ck_assert_uint_gt(compared, 4000);
    ck_assert_uint_gt(matched, 200);
}
END_TEST

static const struct {
    const char *pattern, *why;
} refusals[] = {
    {"(", "( without ) at byte 2"},
    {"(a", "( without ) at byte 3"},
    {")", ") without ( at byte 1"},
    {"a)(b", ") without ( at byte 2"},
    {"[a", "[ without ] at byte 3"},
    {"[]", "[ without ] at byte 3"},
    {"[z-a]", "a range ends before it begins at byte 5"},
    {"[a-c-e]", "a range begins with the end of another"},
    {"[[:alpha:]-z]", "a range begins with a class"},
    {"[a-[:digit:]]", "a range ends with a class"},
    {"[[:letters:]]", "[: begins no class"},
    {"[[=a=]]", "not supported"},
    {"*a", "nothing to repeat at byte 1"},
    {"a|*b", "nothing to repeat at byte 3"},
    {"(+)", "nothing to repeat"},
    {"{2}", "nothing to repeat"},
    {"^*", "^ and $ cannot be repeated"},
    {"a{2,1}", "{m,n} with n below m"},
    {"a{", "{ begins none of"},
    {"a{x}", "{ begins none of"},
    {"a{,}", "{ begins none of"},
    {"a{1,2,3}", "{ begins none of"},
    {"a{2 }", "{ begins none of"},
    {"a{32768}", "{m,n} beyond 32767"},
    {"a{99999999999999999999}", "{m,n} beyond 32767"},
    {"a\\", "\\ stands only before"},
    {"(a)\\1", "\\ stands only before"},
    {"\\w", "\\ stands only before"},
    {"\303", "bytes that are not UTF-8 at byte 1"},
    {"a\300\200", "bytes that are not UTF-8 at byte 2"},
    {"\355\240\200", "bytes that are not UTF-8"},
    {"", "1 to 127 bytes"},
    {"a{256}", "has 257 states, 1 more than the 256"},
    {"a{0,200}", "has 401 states, 145 more than the 256"},
    {"(((a{32767}){32767}){32767}){32767}", "has more states than can be counted"},
    {"((a{0,99}){0,99}){0,99}", "states"},
};

START_TEST(what_is_no_expression_is_refused_and_told)
{
    struct err err = {0};
    ck_assert_ptr_null(pattern_new(refusals[_i].pattern, &err));
    ck_assert_int_eq(err.code, ERR_INVALID);
    ck_assert_msg(strstr(err.msg, refusals[_i].why) != NULL, "%s", err.msg);
    ck_assert_ptr_null(pattern_new(refusals[_i].pattern, NULL));
}
END_TEST

START_TEST(a_byte_that_is_no_character_is_one_by_itself)
{
    ck_assert_int_eq(ours(".", "\377"), 1);
    ck_assert_int_eq(ours("..", "\303\303"), 1);
    ck_assert_int_eq(ours(".", "\303\266"), 1); /* two bytes, one character */
    ck_assert_int_eq(ours("..", "\303\266"), 0);
    ck_assert_int_eq(ours("...", "\355\240\200"), 1); /* half a surrogate is none */
    ck_assert_int_eq(ours("[\303\244-\303\274]+", "\303\266\303\244"), 1);
    ck_assert_int_eq(ours("[\303\244-\303\274]+", "\303\206"), 0);
    ck_assert_int_eq(ours("[[:alpha:]]", "\303\266"), 0); /* classes are of ASCII */
    ck_assert_int_eq(ours("[^[:alpha:]]", "\303\266"), 1);
    ck_assert_int_eq(ours("[^a]", "\377"), 1);
    ck_assert_int_eq(ours("\303\277", "\377"), 0); /* the character U+FF is not the byte 0xff */
}
END_TEST

static uint64_t cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* `count` times `part`, cut to what an expression may have. */
static void repeat(struct buf *to, const char *part)
{
    while (to->size + strlen(part) <= PATTERN_BYTES_MAX)
        buf_printf(to, "%s", part);
}

/* Begin, and what is repeated up to the longest expression there may be; what is behind it. */
static const struct {
    const char *begin, *part, *end;
} worst[] = {
    {"a", "*", ""},
    {"a", "+", ""},
    {"a", "?", ""},
    {"", "a?", ""},
    {"", "a*", ""},
    {"", ".*", ""},
    {"", "(a|a)*", ""},
    {"", "[a-z]*", ""},
    {"", "[^b-z]?", ""},
    {"(.?){84}", "", ""},
    {"(a*)*", "", "(a*)*"},
    {"(a|b)*a(a|b){60}", "", ""},
    {"(x+x+)+y", "", ""},
    {"((a?){9}){9}", "", ""},
    {"[[:punct:]a]{0,63}", ".", ""},
    {"(((((((((a+)+)+)+)+)+)+)+)+)+", "", "b"},
};

/* The least of three tries, for a loaded machine interrupts. */
static uint64_t least_us(const struct buf *pattern, const char *text, struct pattern **ret)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 3; i++) {
        uint64_t began = cpu_us();
        pattern_free(*ret);
        *ret = pattern_new(buf_text(pattern), NULL);
        ck_assert_msg(*ret != NULL, "%s", buf_text(pattern));
        (void)pattern_matches(*ret, text);
        least = MIN(least, cpu_us() - began);
    }
    return least;
}

START_TEST(the_worst_expressions_take_under_a_millisecond_and_a_few_kilobytes)
{
    char text[PATTERN_BYTES_MAX + 1] = {0};
    memset(text, 'a', PATTERN_BYTES_MAX);
    CLEANUP(buf_release) struct buf pattern = {0};
    struct pattern *compiled = NULL;
    buf_printf(&pattern, "%s", worst[_i].begin);
    if (worst[_i].part[0] != '\0')
        repeat(&pattern, worst[_i].part);
    buf_printf(&pattern, "%s", worst[_i].end);
    uint64_t us = least_us(&pattern, text, &compiled);
    ck_assert_uint_lt(pattern_bytes(compiled), 8 * (PATTERN_STATES_MAX + PATTERN_BYTES_MAX) + 256);
    ck_assert_msg(us < 1000, "%s: %" PRIu64 " us", buf_text(&pattern), us);
    pattern_free(compiled);
}
END_TEST

static const struct {
    const char *pattern;
    uint32_t states; /* with the one at the end */
} sizes[] = {
    {"a", 2},
    {"abc", 4},
    {"a*", 3},
    {"a+", 3},
    {"a?", 3},
    {"a|b", 4},
    {"(a)", 2},
    {"a{3}", 4},
    {"a{1,3}", 6},
    {"a{2,}", 4},
    {"a{0,}", 3},
    {"[a-z]{4}", 5},
    {"(ab){2}c", 6},
    {"^a$", 4},
    {"()", 1},
    {"a{0}", 1},
    {"(){32767}", 1},
    {"(a{0}){9999}", 1},
    {"((){32767}){32767}", 1},
    {"(a|b){2}", 7},
};

START_TEST(the_number_of_states_is_what_the_header_says)
{
    struct pattern *pattern = pattern_new(sizes[_i].pattern, NULL);
    ck_assert_ptr_nonnull(pattern);
    ck_assert_uint_eq(pattern_states(pattern), sizes[_i].states);
    pattern_free(pattern);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pattern");
    TCase *tests = tcase_create("pattern");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, an_expression_says_what_the_c_library_says, 0, ARRAY_SIZE(patterns));
    tcase_add_loop_test(tests, random_expressions_say_what_the_c_library_says, 0, 4);
    tcase_add_loop_test(tests, what_is_no_expression_is_refused_and_told, 0, ARRAY_SIZE(refusals));
    tcase_add_test(tests, a_byte_that_is_no_character_is_one_by_itself);
    tcase_add_loop_test(tests, the_worst_expressions_take_under_a_millisecond_and_a_few_kilobytes,
                        0, ARRAY_SIZE(worst));
    tcase_add_loop_test(tests, the_number_of_states_is_what_the_header_says, 0, ARRAY_SIZE(sizes));
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
