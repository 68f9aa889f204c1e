// Package world stands for the virtual world, in a test.
package world
