package lint_test

import (
	"testing"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/analysistest"

	"capstan/internal/lint"
)

func TestAnalyzers(t *testing.T) {
	for _, c := range []struct {
		analyzer *analysis.Analyzer
		packages []string
	}{
		{lint.Determinism, []string{"capstan/core/bad", "capstan/core/maps", "capstan/vtl/iscsi", "capstan/cmd/any"}},
		{lint.Imports, []string{"capstan/core/arrows", "capstan/core/arrowstest", "capstan/hw/arrows", "capstan/reports/arrows",
			"capstan/vtl/iscsi", "capstan/vtl/scsi", "capstan/cmd/any"}},
		{lint.PackageComment, []string{"capstan/nocomment", "capstan/sim/world"}},
		{lint.PackageName, []string{"capstan/utils", "capstan/sim/world"}},
		{lint.FunctionLength, []string{"capstan/long"}},
	} {
		t.Run(c.analyzer.Name, func(t *testing.T) {
			analysistest.Run(t, analysistest.TestData(), c.analyzer, c.packages...)
		})
	}
}

// The rules hold for the whole module.
func TestModule(t *testing.T) {
	findings, err := lint.Run("../..", "./...")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}
