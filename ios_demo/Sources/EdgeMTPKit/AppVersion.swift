/// What the log calls the app and its runtime.
public enum AppVersion {
  /// The app's version; project.yml has the same.
  public static let text = "0.1.0"
  /// The version of LiteRT-LM in Package.swift, which the C API does not tell.
  public static let runtimeOnPhone = "0.18.0"
}
