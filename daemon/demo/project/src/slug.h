/* Slugs: the readable part of a post's address. */
#ifndef SLUG_H
#define SLUG_H

#include <stddef.h>

/* Writes a slug of `title` into `out`: lower case, words joined by single dashes. `out` holds `size` bytes. */
void slug_make(const char *title, char *out, size_t size);

/* Shortens a slug to at most `max` characters, cutting whole words from its end; a first word that is too long
 * is cut itself. A slug that fits is left as it is. */
void slug_shorten(char *slug, size_t max);

/* How many words a slug has. */
size_t slug_words(const char *slug);

#endif
