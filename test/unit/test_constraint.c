/*
 * test_constraint.c - terms as people write them, against machines; what is refused; attributes.
 */
#include "attributes.h"
#include "cell_fixture.h"

#include <time.h>

/* The machine that is judged, "m1". */
static struct words attributes_of_m1(void)
{
    struct words attributes = {0};
    attributes_put(&attributes, "rack", "r1");
    attributes_put(&attributes, "cpus", "16");
    attributes_put(&attributes, "depth", "-3");
    attributes_put(&attributes, "kernel", "6.1.0-18+deb12");
    attributes_put(&attributes, "size", "16GB");
    attributes_put(&attributes, "big", "999999999999999999999");
    attributes_put(&attributes, "arch", "x86_64");
    return attributes;
}

static const struct {
    const char *term;
    bool holds;
} cases[] = {
    {"rack = r1", true},
    {"rack = r2", false},
    {"rack=r1", true},
    {"  rack\t=  r1  ", true},
    {"rack = R1", false},
    {"rack = r", false},
    {"rack = r11", false},
    {"rack != r1", false},
    {"rack != r2", true},
    {"rac = r1", false},
    {"rackk = r1", false},
    {"machine = m1", true},
    {"machine = m2", false},
    {"machine in m2,m1", true},
    {"machine exists", true},
    {"machine not-exists", false},
    {"machine regex m[0-9]", true},
    {"cpus < 16", false},
    {"cpus < 17", true},
    {"cpus <= 16", true},
    {"cpus <= 15", false},
    {"cpus > 16", false},
    {"cpus > 9", true}, /* as texts it would not be */
    {"cpus >= 16", true},
    {"cpus>=17", false},
    {"depth < 0", true},
    {"depth >= -3", true},
    {"depth > -3", false},
    {"size > 1", false}, /* no whole number: never */
    {"size <= 1", false},
    {"big > 1", false},
    {"big < 1", false},
    {"rack < 5", false},
    {"rack in r1", true},
    {"rack in r2, r1", true},
    {"rack in r2,r3", false},
    {"rack in r2 r1", true},
    {"rack not-in r2,r3", true},
    {"rack not-in r2,r1", false},
    {"rack exists", true},
    {"rack not-exists", false},
    {"rack regex r1", true},
    {"rack regex r", false}, /* the whole value */
    {"rack regex 1", false},
    {"rack regex .*", true},
    {"rack regex x|r1", true},
    {"rack regex r1|x", true},
    {"kernel regex 6\\.1\\..*", true},
    {"kernel regex 6\\.2\\..*", false},
    {"kernel regex [0-9.]+-[0-9]+\\+deb(11|12)", true},
    {"kernel regex [0-9.]{3,5}.*", true},
    {"arch regex x86_[0-9]{2}", true},
    {"arch regex x86_[0-9]{3}", false},
    {"rack regex ((((((((((((r+)+)+)+)+)+)+)+)+)+)+)+1)+", true},
    {"rack regex r1***********************************************************", true},
    /* What a machine does not say. */
    {"ssd = yes", false},
    {"ssd != yes", true},
    {"ssd < 1", false},
    {"ssd <= 1", false},
    {"ssd > 1", false},
    {"ssd >= 1", false},
    {"ssd in yes,no", false},
    {"ssd not-in yes,no", true},
    {"ssd exists", false},
    {"ssd not-exists", true},
    {"ssd regex .*", false},
    /* For who counts tasks to judge: here they neither hold nor fail. */
    {"rack near cache", false},
    {"machine apart a.b-c", false},
};

static struct term parsed(const char *text)
{
    struct term term;
    struct err err = {0};
    ck_assert_msg(term_parse(text, &term, &err) == 0, "%s", err.msg);
    return term;
}

START_TEST(a_term_holds_or_does_not)
{
    struct words attributes = attributes_of_m1();
    struct clauses clauses = {0};
    clause_add(clauses_add(&clauses, 0), parsed(cases[_i].term));
    ck_assert_int_eq(clauses_valid(&clauses, NULL), 0);
    struct matcher *matcher = matcher_new(&clauses);
    struct subject m1 = {"m1", &attributes};
    ck_assert_msg(matcher_holds(matcher, 0, &m1) == cases[_i].holds, "%s", cases[_i].term);
    bool fails = !cases[_i].holds && !clause_has_company(&clauses.items[0]);
    ck_assert_uint_eq(matcher_failing(matcher, &m1), fails ? 0 : 1);
    matcher_free(matcher);
    clauses_release(&clauses);
    words_release(&attributes);
}
END_TEST

START_TEST(a_term_is_printed_as_it_is_read)
{
    CLEANUP(buf_release) struct buf text = {0};
    CLEANUP(buf_release) struct buf again = {0};
    struct term term = parsed(cases[_i].term);
    term_print(&text, &term);
    struct term back = parsed(buf_text(&text));
    term_print(&again, &back);
    ck_assert_str_eq(buf_text(&text), buf_text(&again));
    ck_assert_str_eq(term.attribute, back.attribute);
    ck_assert_int_eq(term.op, back.op);
    ck_assert(words_same(&term.values, &back.values));
    words_release(&term.values);
    words_release(&back.values);
}
END_TEST

static const struct {
    const char *term, *why;
} refusals[] = {
    {"", "does not start with an attribute"},
    {"= r1", "does not start with an attribute"},
    {"Rack = r1", "\"Rack\" is no attribute"},
    {"rack", "says nothing of rack, like \"rack = VALUE\""},
    {"rack r1", "\"r1\" is none of = != <"},
    {"rack == r1", "\"==\" is none of = != <"},
    {"rack => 1", "\"=>\" is none of"},
    {"rack =", "its value is missing"},
    {"rack in", "its value is missing"},
    {"rack in ,", "its value is missing"},
    {"rack = r1 r2", "2 values are too many, at most 1"},
    {"rack exists yes", "exists takes no value"},
    {"rack not-exists yes", "not-exists takes no value"},
    {"cpus > many", "> compares whole numbers, \"many\" is none"},
    {"cpus > 1.5", "compares whole numbers"},
    {"cpus > 9999999999999999999", "compares whole numbers"},
    {"rack = r1,r2", "\"r1,r2\" can be no value"},
    {"rack = \"r1\"", "can be no value"},
    {"rack = r\303\266", "can be no value"},
    {"rack regex (", "is not a regular expression: "},
    {"rack regex a)(b", "is not a regular expression: "},
    {"rack regex [a", "is not a regular expression: "},
    {"rack regex a{2,1}", "is not a regular expression: "},
    {"rack regex (a)\\1", "\\ stands only before"}, /* back references take for ever */
    {"rack regex a\\", "\\ stands only before"},
    {"rack regex a{1024}", "\"a{1024}\" has 1025 states, 769 more than the 256"},
    {"rack regex ((a{30}){30}){30}", "has 27001 states"},
    {"rack regex ((((((((a{99}){99}){99}){99}){99}){99}){99}){99}){99}", "than can be counted"},
    {"rack regex [[.a.]]", "[= and [. are not supported, at byte 2"},
    {"rack regex r\303\266", "of printable ASCII"},
    {"rack near", "rack near: its value is missing"},
    {"rack near a b", "rack near: 2 values are too many, at most 1"},
    {"rack apart Web", "apart is of a job, \"Web\" is no name of one"},
};

START_TEST(a_term_that_cannot_be_is_refused_and_told)
{
    struct term term;
    struct err err = {0};
    ck_assert_int_eq(term_parse(refusals[_i].term, &term, &err), -ERR_INVALID);
    ck_assert_msg(strstr(err.msg, refusals[_i].why) != NULL, "%s", err.msg);
    ck_assert_int_eq(term_parse(refusals[_i].term, &term, NULL), -ERR_INVALID);
}
END_TEST

static uint64_t cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

START_TEST(clauses_are_all_to_hold_and_one_term_is_enough)
{
    struct words attributes = attributes_of_m1();
    struct subject m1 = {"m1", &attributes};
    struct clauses clauses = {0};
    struct clause *any = clauses_add(&clauses, 0);
    clause_add(any, parsed("rack regex r9"));
    clause_add(any, parsed("arch regex .*64")); /* the second expression of its clause */
    clause_add(clauses_add(&clauses, 30), parsed("ssd exists"));
    clause_add(clauses_add(&clauses, 12), parsed("cpus > 99"));
    clause_add(clauses_add(&clauses, 5), parsed("rack regex r."));
    struct clauses copy = clauses_copy(&clauses);
    clauses_release(&clauses);
    struct matcher *matcher = matcher_new(&copy);
    ck_assert_uint_eq(matcher_failing(matcher, &m1), 4); /* wishes keep nobody away */
    ck_assert_uint_eq(matcher_cost(matcher, &m1), 42);
    matcher_free(matcher);
    clause_add(clauses_add(&copy, 0), parsed("rack = r2"));
    matcher = matcher_new(&copy);
    ck_assert_uint_eq(matcher_failing(matcher, &m1), 4);
    CLEANUP(buf_release) struct buf text = {0};
    clause_print(&text, &copy.items[0]);
    ck_assert_str_eq(buf_text(&text), "rack regex r9 or arch regex .*64");
    matcher_free(matcher);
    clauses_release(&copy);
    words_release(&attributes);
}
END_TEST

static void expect_refused(const struct clauses *clauses, const char *why)
{
    struct err err = {0};
    ck_assert_int_eq(clauses_valid(clauses, &err), -ERR_INVALID);
    ck_assert_msg(strncmp(err.msg, why, strlen(why)) == 0, "%s", err.msg);
}

START_TEST(clauses_are_bounded)
{
    struct clauses clauses = {0};
    struct clause *clause = clauses_add(&clauses, WEIGHT_MAX);
    expect_refused(&clauses, "task.constraints[0]: 0 alternatives");
    clause_add(clause, parsed("rack = r1"));
    ck_assert_int_eq(clauses_valid(&clauses, NULL), 0);
    clause->weight = WEIGHT_MAX + 1;
    expect_refused(&clauses, "task.constraints[0]: weight 101");
    clause->weight = 0;
    for (int i = 1; i <= SPEC_TERMS_MAX; i++)
        clause_add(clause, parsed("rack = r1"));
    expect_refused(&clauses, "task.constraints[0]: 17 alternatives");
    words_release(&clause->terms[--clause->term_count].values);
    ck_assert_int_eq(clauses_valid(&clauses, NULL), 0);
    for (int i = 0; i <= SPEC_TERM_VALUES_MAX; i++)
        words_add(&clause->terms[3].values, "r2");
    expect_refused(&clauses, "task.constraints[0]: rack =: 34 values");
    clause->terms[3].op = OP_IN;
    expect_refused(&clauses, "task.constraints[0]: rack in: 34 values");
    clause->terms[3].op = OP_COUNT;
    expect_refused(&clauses, "task.constraints[0]: operator 13");
    clauses_release(&clauses);
    clause_add(clauses_add(&clauses, 0), parsed("rack regex (.?){127}")); /* 255 states */
    for (int i = 0; i < 3; i++)
        clause_add(clauses_add(&clauses, 0), parsed("rack regex r{253}")); /* 254 */
    ck_assert_uint_eq(clauses_units(&clauses), 4 * 9 + 16 * (255 + 3 * 254));
    ck_assert_int_eq(clauses_valid(&clauses, NULL), 0);
    clause_add(clauses_add(&clauses, 0), parsed("rack regex rrrr"));
    expect_refused(&clauses, "task.constraints[4]: the constraints up to here take 16397 units to "
                             "judge a machine, 13 more than the 16384 that are allowed");
    clauses_release(&clauses);
    for (int i = 0; i < SPEC_REGEXES_MAX; i++)
        clause_add(clauses_add(&clauses, 0), parsed("rack regex r."));
    ck_assert_int_eq(clauses_valid(&clauses, NULL), 0);
    clause_add(clauses_add(&clauses, 0), parsed("rack regex r."));
    expect_refused(&clauses, "task.constraints[16]: more than 16 regular");
    clauses_release(&clauses);
    for (int i = 0; i <= SPEC_COMPANIES_MAX; i++)
        clause_add(clauses_add(&clauses, 0), parsed(i % 2 == 0 ? "rack near a" : "rack apart b"));
    expect_refused(&clauses, "task.constraints[16]: more than 16 times near and apart");
    clauses_release(&clauses);
    for (int i = 0; i <= SPEC_CLAUSES_MAX; i++)
        clause_add(clauses_add(&clauses, 0), parsed("rack = r1"));
    expect_refused(&clauses, "task.constraints: 33 are too many");
    clauses_release(&clauses);
}
END_TEST

/* Clauses of one term each, separated by ";"; a "|" makes an alternative, "?" a wish. */
static void key_of(const char *text, struct buf *to)
{
    struct clauses clauses = {0};
    CLEANUP(free_ptr) char *copy = xstrdup(text);
    for (char *rest = copy, *one; (one = strsep(&rest, ";")) != NULL;) {
        struct clause *clause = clauses_add(&clauses, one[0] == '?' ? 7 : 0);
        one += one[0] == '?';
        for (char *term; (term = strsep(&one, "|")) != NULL;)
            clause_add(clause, parsed(term));
    }
    buf_clear(to);
    clauses_key(&clauses, to);
    clauses_release(&clauses);
}

START_TEST(the_key_tells_clauses_apart)
{
    static const char *const texts[] = {
        "a in b,c",    "a in b",      "a not-in b,c", "a in bc",      "a in c,b", "b in b,c",
        "a = b;a = c", "a = b|a = c", "a = b;?a = c", "?a = b;a = c", "a = b",    "?a = b",
        "a exists",    "a regex b",   "a = b;a = b",  "a near b",     "a apart b"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        for (size_t j = 0; j < ARRAY_SIZE(texts); j++) {
            CLEANUP(buf_release) struct buf a = {0};
            CLEANUP(buf_release) struct buf b = {0};
            key_of(texts[i], &a);
            key_of(texts[j], &b);
            ck_assert_int_eq(strcmp(buf_text(&a), buf_text(&b)) == 0, i == j);
        }
}
END_TEST

START_TEST(attributes_are_sorted_and_each_is_there_once)
{
    struct words attributes = {0};
    attributes_put(&attributes, "rack", "r1");
    attributes_put(&attributes, "r", "0");
    attributes_put(&attributes, "racks", "2");
    attributes_put(&attributes, "rack.row", "3");
    attributes_put(&attributes, "a", "b");
    attributes_put(&attributes, "rack", "r2");
    ck_assert_int_eq(attributes_valid(&attributes, NULL), 0);
    static const char *const expected[] = {"a=b", "r=0", "rack=r2", "rack.row=3", "racks=2"};
    ck_assert_uint_eq(attributes.count, ARRAY_SIZE(expected));
    size_t i = 0;
    for (const char *w = words_first(&attributes); w != NULL; w = words_next(&attributes, w))
        ck_assert_str_eq(w, expected[i++]);
    ck_assert_str_eq(attributes_get(&attributes, "rack"), "r2");
    ck_assert_str_eq(attributes_get(&attributes, "racks"), "2");
    ck_assert_ptr_null(attributes_get(&attributes, "rac"));
    ck_assert_ptr_null(attributes_get(&attributes, ""));
    words_release(&attributes);
}
END_TEST

static const char *const bad_attributes[] = {
    "rack",    "=r1",     "Rack=r1",        "rack=",   "rack=a b",  "rack=a,b", "machine=m1",
    "rack=\"", "-rack=1", "rack=r\303\266", "ra ck=1", "rack=a\nb", "rack=1\1"};

START_TEST(what_is_no_attribute_is_refused)
{
    struct words attributes = {0};
    struct err err = {0};
    words_add(&attributes, bad_attributes[_i]);
    ck_assert_int_eq(attributes_valid(&attributes, &err), -ERR_INVALID);
    ck_assert_msg(strncmp(err.msg, "attributes: \"", 13) == 0, "%s", err.msg);
    words_release(&attributes);
}
END_TEST

START_TEST(attributes_are_bounded_and_in_order)
{
    struct words attributes = {0};
    char word[CELL_NAME_MAX + ATTRIBUTE_VALUE_MAX + 8];
    for (int i = 0; i < MACHINE_ATTRIBUTES_MAX; i++) {
        snprintf(word, sizeof word, "k%02d=v", i);
        words_add(&attributes, word);
    }
    ck_assert_int_eq(attributes_valid(&attributes, NULL), 0);
    words_add(&attributes, "z=1");
    ck_assert_int_eq(attributes_valid(&attributes, NULL), -ERR_INVALID);
    words_release(&attributes);
    words_add(&attributes, "b=1");
    words_add(&attributes, "a=1");
    ck_assert_int_eq(attributes_valid(&attributes, NULL), -ERR_INVALID);
    words_release(&attributes);
    words_add(&attributes, "a=1");
    words_add(&attributes, "a=2");
    ck_assert_int_eq(attributes_valid(&attributes, NULL), -ERR_INVALID);
    attributes.count++;
    ck_assert_int_eq(attributes_valid(&attributes, NULL), -ERR_INVALID);
    words_release(&attributes);
    for (int over = 0; over < 2; over++) {
        snprintf(word, sizeof word, "a=%0*d", ATTRIBUTE_VALUE_MAX + over, 0);
        words_add(&attributes, word);
        ck_assert_int_eq(attributes_valid(&attributes, NULL), over ? -ERR_INVALID : 0);
        words_release(&attributes);
        snprintf(word, sizeof word, "%0*d=a", CELL_NAME_MAX + over, 0);
        words_add(&attributes, word);
        ck_assert_int_eq(attributes_valid(&attributes, NULL), over ? -ERR_INVALID : 0);
        words_release(&attributes);
    }
}
END_TEST

/* The dearest constraints a job may have: 16 expressions, as many states as are allowed, all of
 * them reached at each character, against 32 of the longest values. The least of five tries: others
 * use the machine, too.
 */
START_TEST(the_dearest_expressions_are_judged_in_a_few_milliseconds)
{
    char key[8], value[ATTRIBUTE_VALUE_MAX + 1] = {0};
    struct words attributes = {0};
    struct clauses clauses = {0};
    uint64_t least_us = UINT64_MAX;
    memset(value, 'a', ATTRIBUTE_VALUE_MAX);
    for (int i = 0; i < MACHINE_ATTRIBUTES_MAX; i++) {
        snprintf(key, sizeof key, "k%02d", i);
        attributes_put(&attributes, key, value);
    }
    for (int i = 0; i < SPEC_REGEXES_MAX; i++)
        clause_add(clauses_add(&clauses, 0), parsed("k31 regex (.?){29}.*"));
    ck_assert_int_eq(clauses_valid(&clauses, NULL), 0);
    struct subject m1 = {"m1", &attributes};
    for (int i = 0; i < 5; i++) {
        uint64_t began = cpu_us();
        struct matcher *matcher = matcher_new(&clauses);
        ck_assert_uint_eq(matcher_failing(matcher, &m1), clauses.count);
        matcher_free(matcher);
        least_us = MIN(least_us, cpu_us() - began);
    }
    ck_assert_msg(least_us < 10000, "%" PRIu64 " us", least_us);
    printf("%d expressions: %" PRIu64 " us\n", SPEC_REGEXES_MAX, least_us);
    clauses_release(&clauses);
    words_release(&attributes);
}
END_TEST

/* The expression that once took 5 s and 184 MiB to compile, and its like. */
START_TEST(an_expression_of_many_stars_is_cheap_to_check)
{
    static const char *const parts[] = {"*", "+", "?", "*?", "{1}", "{1,}", "a"};
    char regex[ATTRIBUTE_VALUE_MAX + 1] = "rack regex a";
    for (size_t i = 0; strlen(regex) + strlen(parts[_i]) <= ATTRIBUTE_VALUE_MAX; i++)
        snprintf(regex + strlen(regex), sizeof regex - strlen(regex), "%s", parts[_i]);
    uint64_t least_us = UINT64_MAX;
    for (int i = 0; i < 5; i++) { /* of 116 bytes */
        struct clauses clauses = {0};
        uint64_t began = cpu_us();
        for (int k = 0; k < 7; k++)
            clause_add(clauses_add(&clauses, 0), parsed(regex));
        ck_assert_int_eq(clauses_valid(&clauses, NULL), 0);
        least_us = MIN(least_us, cpu_us() - began);
        clauses_release(&clauses);
    }
    ck_assert_msg(least_us < 1000, "%s: %" PRIu64 " us", regex, least_us);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("constraint");
    TCase *tcase = tcase_create("constraint");
    tcase_add_loop_test(tcase, a_term_holds_or_does_not, 0, ARRAY_SIZE(cases));
    tcase_add_loop_test(tcase, a_term_is_printed_as_it_is_read, 0, ARRAY_SIZE(cases));
    tcase_add_loop_test(tcase, a_term_that_cannot_be_is_refused_and_told, 0, ARRAY_SIZE(refusals));
    tcase_add_test(tcase, clauses_are_all_to_hold_and_one_term_is_enough);
    tcase_add_test(tcase, clauses_are_bounded);
    tcase_add_test(tcase, the_dearest_expressions_are_judged_in_a_few_milliseconds);
    tcase_add_loop_test(tcase, an_expression_of_many_stars_is_cheap_to_check, 0, 7);
    tcase_add_test(tcase, the_key_tells_clauses_apart);
    tcase_add_test(tcase, attributes_are_sorted_and_each_is_there_once);
    tcase_add_loop_test(tcase, what_is_no_attribute_is_refused, 0, ARRAY_SIZE(bad_attributes));
    tcase_add_test(tcase, attributes_are_bounded_and_in_order);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
