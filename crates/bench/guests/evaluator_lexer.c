// The lexer of evaluator.c, in a translation unit of its own: none of its functions is inlined.
#include "evaluator.h"

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_letter(char c) { return c >= 'a' && c <= 'z'; }

void lexer_start(Lexer *lexer, const char *text) {
    lexer->at = text;
    lexer_advance(lexer);
}

// A name of one letter is a variable, a longer one a function.
static void name(Lexer *lexer) {
    const char *start = lexer->at;
    while (is_letter(*lexer->at)) lexer->at++;
    if (lexer->at - start == 1) {
        lexer->kind = VARIABLE;
        lexer->value = start[0] - 'a';
        return;
    }
    lexer->kind = FUNCTION;
    lexer->value = start[0] == 'a' ? ABSOLUTE : start[1] == 'i' ? MINIMUM : MAXIMUM;
}

void lexer_advance(Lexer *lexer) {
    while (*lexer->at == ' ') lexer->at++;
    if (*lexer->at == 0) {
        lexer->kind = END;
    } else if (is_digit(*lexer->at)) {
        lexer->kind = NUMBER;
        lexer->value = 0;
        while (is_digit(*lexer->at)) lexer->value = lexer->value * 10 + (*lexer->at++ - '0');
    } else if (is_letter(*lexer->at)) {
        name(lexer);
    } else {
        lexer->kind = SYMBOL;
        lexer->value = *lexer->at++;
    }
}

bool lexer_at(const Lexer *lexer, char symbol) {
    return lexer->kind == SYMBOL && lexer->value == symbol;
}

bool lexer_accept(Lexer *lexer, char symbol) {
    if (!lexer_at(lexer, symbol)) return false;
    lexer_advance(lexer);
    return true;
}
