package lint

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/analysis"
)

// Imports keeps the arrows of the house one way.
var Imports = &analysis.Analyzer{
	Name: "imports",
	Doc:  "imports go one way: core knows nobody, worlds know core, and core and vtl stay off the operating system",
	Run:  runImports,
}

// mayImport are the areas of the module that each area may import besides
// itself. cmd and internal put things together and may import all.
var mayImport = map[string][]string{
	"core":      {},
	"sim":       {"core"},
	"vtl":       {"core"},
	"hw":        {"core"},
	"fuse":      {"core"},
	"reports":   {"core"},
	"scenarios": {"core"},
}

// pure are the packages of the standard library that core and vtl may import:
// those that compute, and reach nothing outside the process. A "/" at the end
// stands for all packages below.
var pure = []string{
	"archive/tar", "bufio", "bytes", "cmp", "compress/", "container/", "context", "crypto", "crypto/aes", "crypto/cipher",
	"crypto/ecdsa", "crypto/ed25519", "crypto/elliptic", "crypto/hkdf", "crypto/hmac", "crypto/md5", "crypto/sha1", "crypto/sha256", "crypto/sha512",
	"crypto/subtle", "crypto/x509", "crypto/x509/pkix", "embed", "encoding", "encoding/", "errors", "fmt", "hash", "hash/adler32",
	"hash/crc32", "hash/crc64", "hash/fnv", "io", "io/fs", "iter", "log/slog", "maps", "math", "math/big", "math/bits", "math/cmplx",
	"math/rand", "math/rand/v2", "path", "reflect", "regexp", "slices", "sort", "strconv", "strings", "text/", "time", "time/tzdata",
	"unicode", "unicode/", "unique",
}

// pureModules are the other modules that core and vtl may import.
var pureModules = []string{"github.com/fxamacker/cbor/v2", "github.com/klauspost/compress/zstd"}

// suiteImports are what packages of conformance suites may import too: their
// names end in "test".
var suiteImports = []string{"testing", "testing/", "github.com/google/go-cmp/", "pgregory.net/rapid"}

func runImports(pass *analysis.Pass) (any, error) {
	self := strings.TrimSuffix(pass.Pkg.Path(), "_test")
	from := area(self)
	allowed, ruled := mayImport[from]
	if !ruled {
		return nil, nil
	}
	for _, f := range files(pass) {
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // the compiler reports it
			}
			to := area(path)
			switch {
			case to != "" && to != from && !slices.Contains(allowed, to):
				pass.Reportf(spec.Pos(), "%s may not import %s: it knows %s", from, path, list(allowed))
			case to == "" && worldFree(self) && !pureImport(self, path):
				pass.Reportf(spec.Pos(), "%s may not import %q: it is not on the list of packages that only compute", from, path)
			}
		}
	}
	return nil, nil
}

func list(areas []string) string {
	if len(areas) == 0 {
		return "no other part of the module"
	}
	return "only " + strings.Join(areas, ", ")
}

func pureImport(self, path string) bool {
	return listed(pure, path) || listed(pureModules, path) || strings.HasSuffix(self, "test") && listed(suiteImports, path)
}

func listed(all []string, path string) bool {
	return slices.ContainsFunc(all, func(s string) bool {
		return s == path || strings.HasSuffix(s, "/") && strings.HasPrefix(path, s)
	})
}
