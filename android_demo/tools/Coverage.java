import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;
import org.jacoco.core.analysis.Analyzer;
import org.jacoco.core.analysis.CoverageBuilder;
import org.jacoco.core.analysis.ICounter;
import org.jacoco.core.analysis.ISourceFileCoverage;
import org.jacoco.core.tools.ExecFileLoader;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.ClassWriter;
import org.objectweb.asm.Opcodes;

/**
 * Line coverage of a jar of Kotlin classes with JaCoCo 0.8.6, which does not understand the inlining notes of newer
 * compilers: "strip IN OUT" removes them, and "report RECORD JAR SOURCES" leaves out the lines that only they explain,
 * which lie behind the end of the source file.
 */
class Coverage {
    public static void main(String[] arguments) throws IOException {
        if (arguments[0].equals("strip")) {
            strip(arguments[1], arguments[2]);
        } else {
            report(arguments[1], arguments[2], arguments[3]);
        }
    }

    private static void strip(String from, String to) throws IOException {
        try (ZipFile source = new ZipFile(from); ZipOutputStream target = new ZipOutputStream(Files.newOutputStream(Path.of(to)))) {
            for (ZipEntry entry : source.stream().collect(Collectors.toList())) {
                byte[] content = source.getInputStream(entry).readAllBytes();
                target.putNextEntry(new ZipEntry(entry.getName()));
                target.write(entry.getName().endsWith(".class") ? stripped(content) : content);
            }
        }
    }

    private static byte[] stripped(byte[] content) {
        ClassWriter writer = new ClassWriter(0);
        new ClassReader(content).accept(new ClassVisitor(Opcodes.ASM9, writer) {
            @Override
            public void visitSource(String source, String debug) {
                super.visitSource(source, null);
            }
        }, 0);
        return writer.toByteArray();
    }

    /** Prints lines covered and lines in all, then the files that miss most, with the lines that they miss. */
    private static void report(String record, String jar, String sources) throws IOException {
        ExecFileLoader loader = new ExecFileLoader();
        loader.load(new File(record));
        CoverageBuilder builder = new CoverageBuilder();
        new Analyzer(loader.getExecutionDataStore(), builder).analyzeAll(new File(jar));
        Map<String, Integer> lengths = lengths(Path.of(sources));
        Map<String, List<Integer>> missed = new TreeMap<>();
        int total = 0;
        for (ISourceFileCoverage file : builder.getSourceFiles()) {
            String name = file.getPackageName() + "/" + file.getName();
            for (int line = 1; line <= lengths.getOrDefault(name, 0); line++) {
                ICounter counter = file.getLine(line).getInstructionCounter();
                if (counter.getTotalCount() == 0) continue;
                total++;
                if (counter.getCoveredCount() == 0) missed.computeIfAbsent(name, key -> new ArrayList<>()).add(line);
            }
        }
        int missedCount = missed.values().stream().mapToInt(List::size).sum();
        System.out.println((total - missedCount) + " " + total);
        missed.entrySet().stream()
            .sorted(Comparator.comparing(entry -> -entry.getValue().size()))
            .forEach(entry -> System.out.println(entry.getKey() + " misses " + entry.getValue()));
    }

    private static Map<String, Integer> lengths(Path sources) throws IOException {
        Map<String, Integer> found = new TreeMap<>();
        try (Stream<Path> files = Files.walk(sources)) {
            for (Path file : files.filter(one -> one.toString().endsWith(".kt")).collect(Collectors.toList())) {
                found.put(sources.relativize(file).toString(), Files.readAllLines(file).size());
            }
        }
        return found;
    }
}
