package edgemtp.core.log

import edgemtp.core.json.FormatException
import edgemtp.core.json.JsonObject
import edgemtp.core.json.integer
import edgemtp.core.json.jsonOf
import edgemtp.core.json.readJsonObject
import edgemtp.core.json.text
import edgemtp.core.json.writeJson
import java.io.File
import java.io.RandomAccessFile

/**
 * Marks the runs in [directory] that have no `end`: the app was killed while they ran. Files that are ended or marked
 * already are left alone, and so are files that hold no readable record. [wallTime] is now, RFC 3339.
 *
 * @return the files that were marked
 */
fun recoverLogs(
    directory: File,
    wallTime: String,
): List<File> {
    val logs = directory.listFiles { file -> file.name.endsWith(".jsonl") }.orEmpty().sortedBy { it.name }
    return logs.filter { markInterrupted(it, wallTime) }
}

private fun markInterrupted(
    file: File,
    wallTime: String,
): Boolean {
    val last = lastRecord(file) ?: return false
    if (last.text("kind") == Kind.END.word ||
        last.fields["name"] == jsonOf("name" to "interrupted")["name"]
    ) {
        return false
    }
    RandomAccessFile(file, "rw").use { out ->
        out.seek(maxOf(0, out.length() - 1))
        val closed = out.length() == 0L || out.read() == '\n'.code
        out.seek(out.length())
        out.write(((if (closed) "" else "\n") + writeJson(interrupted(last, wallTime)) + "\n").toByteArray())
        out.fd.sync()
    }
    return true
}

private fun interrupted(
    last: JsonObject,
    wallTime: String,
): JsonObject =
    jsonOf(
        "v" to LOG_VERSION,
        "kind" to Kind.EVENT.word,
        "run" to last.text("run"),
        "seq" to last.integer("seq") + 1,
        "t_ms" to last.integer("t_ms"),
        "name" to "interrupted",
        "value" to jsonOf("wall_time" to wallTime),
    )

private fun lastRecord(file: File): JsonObject? =
    file.useLines { lines ->
        lines
            .mapNotNull(
                ::recordOrNull,
            ).lastOrNull()
    }

private fun recordOrNull(line: String): JsonObject? =
    try {
        readJsonObject(line).also { it.text("run") + it.text("kind") + it.integer("seq") + it.integer("t_ms") }
    } catch (_: FormatException) {
        null // (a line that was cut short, which is what this looks for)
    }
