// Package utils has a comment that is long enough.
package utils // want `package utils is named for nothing`
