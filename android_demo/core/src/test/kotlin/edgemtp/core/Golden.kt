package edgemtp.core

import java.io.File

/** The files that Python, Kotlin and Swift check themselves against; the build says where the repository is. */
fun golden(name: String): File =
    File(checkNotNull(System.getProperty("edgemtp.repository")), "tests/golden/device/$name")
