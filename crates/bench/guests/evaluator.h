// The tokens of arithmetic expressions.
#ifndef EVALUATOR_H
#define EVALUATOR_H

#include "guest.h"

typedef enum { END, NUMBER, VARIABLE, FUNCTION, SYMBOL } TokenKind;

typedef enum { MINIMUM, MAXIMUM, ABSOLUTE } FunctionName;

typedef struct {
    const char *at;
    TokenKind kind;
    // The number, the variable's index, the function's name or the symbol's character.
    int64_t value;
} Lexer;

void lexer_start(Lexer *lexer, const char *text);
void lexer_advance(Lexer *lexer);
// Whether the token at hand is this symbol.
bool lexer_at(const Lexer *lexer, char symbol);
// Passes this symbol if it is the token at hand.
bool lexer_accept(Lexer *lexer, char symbol);

#endif
