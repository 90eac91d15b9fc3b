/* Every failure is one line: file:line: FAILED function: expected X, got Y. */
#include <stdio.h>
#include <string.h>

#include "date.h"
#include "slug.h"

static int failed;
static int passed;

static void check_text(int line, const char *name, const char *expected, const char *got) {
    if (strcmp(expected, got) == 0) {
        passed++;
        return;
    }
    failed++;
    printf("tests/tests.c:%d: FAILED %s: expected \"%s\", got \"%s\"\n", line, name, expected, got);
}

static void check_number(int line, const char *name, long expected, long got) {
    if (expected == got) {
        passed++;
        return;
    }
    failed++;
    printf("tests/tests.c:%d: FAILED %s: expected %ld, got %ld\n", line, name, expected, got);
}

static const char *made(const char *title) {
    static char slug[24];
    slug_make(title, slug, sizeof slug);
    return slug;
}

static const char *shortened(const char *text, size_t max) {
    static char slug[64];
    strcpy(slug, text);
    slug_shorten(slug, max);
    return slug;
}

int main(void) {
    struct date end = {2023, 12, 31};

    check_text(__LINE__, "slug_make", "hello-world", made("Hello, World!"));
    check_text(__LINE__, "slug_make", "a-b-c", made("  a -- b ... c  "));
    check_text(__LINE__, "slug_make", "", made("?!"));
    check_text(__LINE__, "slug_make", "a-title-that-is-too-lon", made("A title that is too long to keep"));

    check_text(__LINE__, "slug_shorten", "one-two", shortened("one-two-three", 9));
    check_text(__LINE__, "slug_shorten", "one-two", shortened("one-two-three", 7));
    check_text(__LINE__, "slug_shorten", "one-two", shortened("one-two", 20));
    check_text(__LINE__, "slug_shorten", "one-two", shortened("one-two", 7));
    check_text(__LINE__, "slug_shorten", "extra", shortened("extraordinary", 5));

    check_number(__LINE__, "slug_words", 3, (long)slug_words("one-two-three"));
    check_number(__LINE__, "slug_words", 0, (long)slug_words(""));

    check_number(__LINE__, "date_is_leap", 1, date_is_leap(2024));
    check_number(__LINE__, "date_is_leap", 0, date_is_leap(1900));
    check_number(__LINE__, "date_is_leap", 1, date_is_leap(2000));
    check_number(__LINE__, "date_days_in_month", 29, date_days_in_month(2024, 2));
    check_number(__LINE__, "date_days_in_month", 30, date_days_in_month(2023, 11));
    check_number(__LINE__, "date_next", 2024, date_next(end).year);
    check_number(__LINE__, "date_next", 1, date_next(end).month);

    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0;
}
