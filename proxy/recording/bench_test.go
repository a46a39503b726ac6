package recording

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
)

// samples are outputs as terminals see them.
func samples(n int) map[string][]byte {
	fill := func(s string) []byte { return []byte(strings.Repeat(s, n/len(s)+1))[:n] }
	random := make([]byte, n)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	cjk := fill("漢字かな交じり文の例、")
	return map[string][]byte{
		"text":   fill("drwxr-xr-x  2 root root 4096 Jan  1 00:00 some-directory-name and then a bit\r\n"),
		"colour": fill("\x1b[0m\x1b[01;34mbin\x1b[0m  \x1b[01;32mrun.sh\x1b[0m  \x1b[38;5;244mnotes\x1b[0m\r\n"),
		"cjk":    cjk[:n-unfinished(cjk)],
		"random": random,
	}
}

func BenchmarkOutput(b *testing.B) {
	for _, n := range []int{200, 32 << 10} {
		for name, p := range samples(n) {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				root := diskRoot(b)
				w := create(b, root, "0.cast")
				b.SetBytes(int64(len(p)))
				b.ReportAllocs()
				for b.Loop() {
					if w.size > 1<<30 { // bound the file
						b.StopTimer()
						w.Close()
						root.Remove("0.cast")
						root.Remove("0.idx")
						w = create(b, root, "0.cast")
						b.StartTimer()
					}
					if err := w.Output(p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkEncode is Output without the write.
func BenchmarkEncode(b *testing.B) {
	for name, p := range samples(maxText) {
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, 0, 128<<10)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				buf = appendOutput(buf[:0], 0, p)
			}
		})
	}
}

// BenchmarkWrite is the system call alone, to compare Output with.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{200, 32 << 10} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f, err := os.OpenFile(b.TempDir()+"/f", os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			p := bytes.Repeat([]byte{'x'}, n)
			b.SetBytes(int64(n))
			size := 0
			for b.Loop() {
				if size += n; size > 1<<30 {
					must(b, f.Truncate(0))
					size = 0
				}
				if _, err := f.Write(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkIdleWriter measures what a writer holds that wrote once and is
// silent since; run it with -benchtime 1000x.
func BenchmarkIdleWriter(b *testing.B) {
	root := diskRoot(b)
	memory := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	all := make([]*Writer, 0, b.N)
	before := memory()
	for i := range b.N {
		w, err := Create(root, fmt.Sprintf("%d.cast", i), Header{})
		must(b, err)
		must(b, w.Output([]byte("$ ")))
		all = append(all, w)
	}
	b.StopTimer()
	b.ReportMetric(float64(memory()-before)/float64(b.N), "B/writer")
	for _, w := range all {
		w.Close()
	}
}

// diskRoot opens an empty folder on the disk.
func diskRoot(b *testing.B) *os.Root {
	b.Helper()
	root, err := os.OpenRoot(b.TempDir())
	must(b, err)
	b.Cleanup(func() { root.Close() })
	return root
}

// BenchmarkCommit measures one round of the committer when all of a thousand
// writers wrote since the last.
func BenchmarkCommit(b *testing.B) {
	root := diskRoot(b)
	var all []*Writer
	for i := range 1000 {
		w := create(b, root, fmt.Sprintf("%d.cast", i))
		w.Round()
		all = append(all, w)
	}
	for b.Loop() {
		b.StopTimer()
		for _, w := range all {
			must(b, w.Output([]byte("$ ls\r\n")))
		}
		b.StartTimer()
		for _, w := range all {
			w.Round()
		}
	}
}

// benchmarkWhole goes through a recording of some megabytes.
func benchmarkWhole(b *testing.B, whole func(root *os.Root, cast []byte)) {
	root := diskRoot(b)
	w := create(b, root, "0.cast")
	for range 200 {
		must(b, w.Output(samples(32 << 10)["colour"]))
	}
	must(b, w.Close())
	cast, err := root.ReadFile("0.cast")
	must(b, err)
	b.SetBytes(int64(len(cast)))
	for b.Loop() {
		whole(root, cast)
	}
}

func BenchmarkRead(b *testing.B) {
	benchmarkWhole(b, func(_ *os.Root, cast []byte) {
		_, frames, err := Read(bytes.NewReader(cast))
		must(b, err)
		for _, err := range frames {
			must(b, err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	benchmarkWhole(b, func(root *os.Root, _ []byte) {
		_, err := Verify(root, "0.cast")
		must(b, err)
	})
}
