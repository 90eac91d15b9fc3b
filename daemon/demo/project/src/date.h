/* Dates of posts, Gregorian. */
#ifndef DATE_H
#define DATE_H

struct date {
    int year;
    int month; /* 1 to 12 */
    int day;   /* 1 to 31 */
};

/* Whether a year has a 29th of February. */
int date_is_leap(int year);

/* How many days a month has. */
int date_days_in_month(int year, int month);

/* The day after. */
struct date date_next(struct date date);
#endif
