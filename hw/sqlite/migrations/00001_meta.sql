-- +goose Up
-- The last number given of each sequence.
CREATE TABLE capstan_sequence (
    name TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) WITHOUT ROWID;

-- The newest version of a table's values that was ever declared: a program that
-- knows only older ones is refused.
CREATE TABLE capstan_table (
    name    TEXT PRIMARY KEY,
    version INTEGER NOT NULL
) WITHOUT ROWID;
