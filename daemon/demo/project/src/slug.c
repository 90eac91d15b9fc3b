#include "slug.h"

#include <ctype.h>
#include <string.h>

void slug_make(const char *title, char *out, size_t size) {
    size_t used = 0;
    int gap = 0;

    for (; *title != '\0' && used + 1 < size; title++) {
        unsigned char c = (unsigned char)*title;
        if (!isalnum(c)) {
            gap = used > 0;
            continue;
        }
        if (gap) {
            if (used + 2 >= size)
                break;
            out[used++] = '-';
            gap = 0;
        }
        out[used++] = (char)tolower(c);
    }
    out[used] = '\0';
}

void slug_shorten(char *slug, size_t max) {
    size_t length = strlen(slug);
    size_t cut = max;

    if (length < max)
        return;
    while (cut > 0 && slug[cut] != '-')
        cut--;
    if (cut == 0)
        cut = max;
    slug[cut] = '\0';
}

size_t slug_words(const char *slug) {
    size_t words = *slug != '\0';

    for (; *slug != '\0'; slug++)
        words += *slug == '-';
    return words;
}
