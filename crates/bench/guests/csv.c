// CSV: generates a file of 2000 lines, and `n` times splits it into records and fields (quoted ones
// too, with doubled quotes and line breaks), reads numbers and dates and adds up by category.
#include "guest.h"

#define LINES 2000
#define CATEGORIES 8

static char file[256 * 1024];
static uint32_t length;

// ---- Reading ----

typedef struct {
    uint32_t at;
    // The field at hand, without quotes.
    char field[128];
    uint32_t field_length;
    bool last_of_record;
} Reader;

typedef enum { START, PLAIN, QUOTED, QUOTE_IN_QUOTED } State;

// False at the end of the file.
static bool next_field(Reader *reader) {
    if (reader->at == length) return false;
    State state = START;
    reader->field_length = 0;
    while (reader->at < length) {
        char c = file[reader->at++];
        if (state == QUOTED) {
            if (c == '"') {
                state = QUOTE_IN_QUOTED;
                continue;
            }
        } else if (c == ',' || c == '\n') {
            reader->last_of_record = c == '\n';
            return true;
        } else if (c == '"') {
            // The second one of two within quotes is a character.
            State before = state;
            state = QUOTED;
            if (before != QUOTE_IN_QUOTED) continue;
        } else if (state == START) {
            state = PLAIN;
        }
        if (reader->field_length < sizeof reader->field) reader->field[reader->field_length++] = c;
    }
    reader->last_of_record = true;
    return true;
}

// A decimal number in hundredths.
static int64_t read_amount(const Reader *reader) {
    int64_t value = 0;
    int32_t decimals = -1;
    bool negative = false;
    for (uint32_t i = 0; i < reader->field_length; i++) {
        char c = reader->field[i];
        if (c == '-') {
            negative = true;
        } else if (c == '.') {
            decimals = 0;
        } else if (c >= '0' && c <= '9' && decimals < 2) {
            value = value * 10 + (c - '0');
            if (decimals >= 0) decimals++;
        }
    }
    for (; decimals < 2; decimals++) {
        value *= 10;
        if (decimals < 0) decimals = 0;
    }
    return negative ? -value : value;
}

// Days since the first of March of the year 0, of a date written as in 2026-11-21.
static uint32_t read_date(const Reader *reader) {
    uint32_t parts[3] = {0}, part = 0;
    for (uint32_t i = 0; i < reader->field_length; i++) {
        char c = reader->field[i];
        if (c == '-') {
            if (++part == 3) return 0;
        } else {
            parts[part] = parts[part] * 10 + (uint32_t)(c - '0');
        }
    }
    uint32_t year = parts[0] - (parts[1] <= 2), month = (parts[1] + 9) % 12;
    return year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + parts[2] - 1;
}

static uint64_t summarize(void) {
    Reader reader = {.at = 0};
    int64_t amounts[CATEGORIES] = {0};
    uint32_t counts[CATEGORIES] = {0}, column = 0, category = 0;
    uint64_t checksum = 0;
    while (next_field(&reader)) {
        switch (column++) {
        case 0: checksum += read_date(&reader); break;
        case 1: category = (uint32_t)(reader.field[0] - 'A') % CATEGORIES; break;
        case 2: amounts[category] += read_amount(&reader); break;
        default:
            checksum = mix_bytes(checksum, (const uint8_t *)reader.field, reader.field_length);
        }
        if (reader.last_of_record) {
            counts[category] += column;
            column = 0;
        }
    }
    for (uint32_t i = 0; i < CATEGORIES; i++) {
        checksum = mix(mix(checksum, (uint64_t)amounts[i]), counts[i]);
    }
    return checksum;
}

// ---- Writing ----

static void put(const char *text) {
    while (*text) file[length++] = *text++;
}

static void put_number(uint32_t number, uint32_t digits) {
    uint32_t unit = 1;
    for (; digits > 1; digits--) unit *= 10;
    for (; unit > 0; unit /= 10) file[length++] = (char)('0' + number / unit % 10);
}

static void put_line(Random *random) {
    static const char *const WORDS[] = {"bread", "milk, fresh", "tea", "a \"\"large\"\" box",
                                        "apples", "two\nlines", "salt", "rice and beans"};
    put_number(2000 + random_below(random, 30), 4);
    put("-"), put_number(1 + random_below(random, 12), 2);
    put("-"), put_number(1 + random_below(random, 28), 2), put(",");
    file[length++] = (char)('A' + random_below(random, CATEGORIES));
    put(random_below(random, 8) ? "," : ",-");
    put_number(random_below(random, 10000), 4);
    if (random_below(random, 4)) put("."), put_number(random_below(random, 100), 2);
    for (uint32_t notes = random_below(random, 3); notes > 0; notes--) {
        put(",\"");
        put(WORDS[random_below(random, LENGTH(WORDS))]);
        put("\"");
    }
    put("\n");
}

int64_t run(int32_t n) {
    Random random = {59};
    length = 0;
    for (uint32_t line = 0; line < LINES; line++) put_line(&random);
    uint64_t checksum = length;
    for (int32_t i = 0; i < n; i++) checksum = mix(checksum, summarize());
    return (int64_t)checksum;
}
