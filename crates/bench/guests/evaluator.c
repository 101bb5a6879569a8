// A recursive-descent evaluator: writes a random arithmetic expression of some 4000 characters and
// evaluates it from its text `n` times, each time with other values of its variables.
//
//     comparison = sum [("<" | ">") sum]
//     sum        = product {("+" | "-") product}
//     product    = unary {("*" | "/" | "%") unary}
//     unary      = "-" unary | primary
//     primary    = number | variable | function "(" comparison {"," comparison} ")"
//                | "(" comparison ")"
#include "evaluator.h"

#define VARIABLES 26

typedef struct {
    Lexer lexer;
    int64_t variables[VARIABLES];
    uint32_t errors;
} Evaluator;

// ---- Evaluation ----

static int64_t comparison(Evaluator *e);

static void expect(Evaluator *e, char symbol) {
    if (!lexer_accept(&e->lexer, symbol)) e->errors++;
}

static int64_t call(Evaluator *e, FunctionName function) {
    expect(e, '(');
    int64_t result = comparison(e);
    if (function == ABSOLUTE) {
        if (result < 0) result = -result;
    } else {
        while (lexer_accept(&e->lexer, ',')) {
            int64_t other = comparison(e);
            if (function == MINIMUM ? other < result : other > result) result = other;
        }
    }
    expect(e, ')');
    return result;
}

static int64_t primary(Evaluator *e) {
    TokenKind kind = e->lexer.kind;
    int64_t value = e->lexer.value;
    if (kind == NUMBER || kind == VARIABLE || kind == FUNCTION) {
        lexer_advance(&e->lexer);
        return kind == NUMBER ? value : kind == VARIABLE ? e->variables[value] : call(e, value);
    }
    expect(e, '(');
    value = comparison(e);
    expect(e, ')');
    return value;
}

static int64_t unary(Evaluator *e) {
    return lexer_accept(&e->lexer, '-') ? -unary(e) : primary(e);
}

// Results are kept to 32 bits, so that nothing overflows; what is divided by zero is zero.
static int64_t product(Evaluator *e) {
    int64_t result = unary(e);
    for (;;) {
        if (lexer_accept(&e->lexer, '*')) {
            result = (int32_t)((uint64_t)result * (uint64_t)unary(e));
        } else if (lexer_accept(&e->lexer, '/')) {
            int64_t divisor = unary(e);
            result = divisor == 0 ? 0 : result / divisor;
        } else if (lexer_accept(&e->lexer, '%')) {
            int64_t divisor = unary(e);
            result = divisor == 0 ? 0 : result % divisor;
        } else {
            return result;
        }
    }
}

static int64_t sum(Evaluator *e) {
    int64_t result = product(e);
    for (;;) {
        if (lexer_accept(&e->lexer, '+')) {
            result = (int32_t)(result + product(e));
        } else if (lexer_accept(&e->lexer, '-')) {
            result = (int32_t)(result - product(e));
        } else {
            return result;
        }
    }
}

static int64_t comparison(Evaluator *e) {
    int64_t left = sum(e);
    if (lexer_accept(&e->lexer, '<')) return left < sum(e);
    if (lexer_accept(&e->lexer, '>')) return left > sum(e);
    return left;
}

static int64_t evaluate(Evaluator *e, const char *text) {
    lexer_start(&e->lexer, text);
    int64_t result = comparison(e);
    if (e->lexer.kind != END) e->errors++;
    return result;
}

// ---- The expression ----

static char text[1 << 14];
static uint32_t length;

static void put(const char *word) {
    while (*word) text[length++] = *word++;
}

static void write_expression(Random *random, uint32_t depth) {
    static const char *const OPERATORS[] = {" + ", " - ", "*", " * ", "/", " % ", " < ", "+"};
    static const char *const FUNCTIONS[] = {"min(", "max("};
    switch (depth == 0 ? random_below(random, 2) : 2 + random_below(random, 6)) {
    case 0:
        text[length++] = (char)('1' + random_below(random, 9));
        for (uint32_t digits = random_below(random, 4); digits > 0; digits--) {
            text[length++] = (char)('0' + random_below(random, 10));
        }
        break;
    case 1:
        text[length++] = (char)('a' + random_below(random, VARIABLES));
        break;
    case 2:
        put(FUNCTIONS[random_below(random, 2)]);
        write_expression(random, depth - 1);
        put(", ");
        write_expression(random, depth - 1);
        put(")");
        break;
    case 3:
        put(random_below(random, 2) ? "-abs(" : "abs(");
        write_expression(random, depth - 1);
        put(")");
        break;
    default:
        put("(");
        write_expression(random, depth - 1);
        put(OPERATORS[random_below(random, LENGTH(OPERATORS))]);
        write_expression(random, depth - 1);
        put(")");
    }
}

int64_t run(int32_t n) {
    Random random = {7};
    length = 0;
    while (length < 4000) {
        if (length > 0) put(" + ");
        write_expression(&random, 6);
    }
    text[length] = 0;

    Evaluator evaluator = {.errors = 0};
    uint64_t checksum = length;
    for (int32_t round = 0; round < n; round++) {
        for (uint32_t i = 0; i < VARIABLES; i++) {
            evaluator.variables[i] = (int64_t)random_below(&random, 2001) - 1000;
        }
        checksum = mix(checksum, (uint64_t)evaluate(&evaluator, text));
    }
    return (int64_t)mix(checksum, evaluator.errors);
}
