// Package scenarios reads the files that people write: a host's configuration
// ([Host]), a policy ([Policy]), a virtual library ([Library]), a scenario of the
// virtual world ([Scenario]), and a sweep over values of one ([Sweep]).
//
// All are YAML. [Load] turns one into a plain struct with its defaults filled
// in, or into [Mistakes]: everything that is wrong with the file at once, each
// with file, line and column, and with what was expected. A field that is not
// known is a mistake, never ignored: it is most often a misspelt one.
//
// The struct types are the single description of the files. A field's tags say
// what the loader checks (see [Load]); its comment is its documentation. The
// JSON Schemas under schema/ and docs/configuration.md are generated from both
// by internal/schemagen, and a test fails when they are out of date.
package scenarios

//go:generate go run capstan/internal/schemagen/write
