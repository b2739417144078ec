// Links the C++ client, which was built beforehand: see README.md of the plugin.
using System.IO;
using UnrealBuildTool;

public class Worldbus : ModuleRules
{
    public Worldbus(ReadOnlyTargetRules Target) : base(Target)
    {
        PCHUsage = PCHUsageMode.UseExplicitOrSharedPCHs;
        CppStandard = CppStandardVersion.Cpp17;
        bEnableExceptions = true; // the client says in exceptions why it cannot be opened
        bUseRTTI = true;          // protobuf
        PublicDependencyModuleNames.AddRange(new[] { "Core", "CoreUObject", "Engine" });

        string Client = Path.Combine(ModuleDirectory, "..", "ThirdParty", "worldbus");
        PublicSystemIncludePaths.Add(Path.Combine(Client, "include"));
        string Libraries = Path.Combine(Client, "lib", Target.Platform.ToString());
        string Extension = Target.Platform == UnrealTargetPlatform.Win64 ? ".lib" : ".a";
        string Prefix = Target.Platform == UnrealTargetPlatform.Win64 ? "" : "lib";
        foreach (string Name in new[] { "worldbus_client", "worldbus_events", "protobuf", "nats" })
        {
            string Library = Path.Combine(Libraries, Prefix + Name + Extension);
            if (!File.Exists(Library))
            {
                throw new BuildException("worldbus: wanted the library {0}; build clients/cpp for {1} and put it there (README.md)", Library, Target.Platform);
            }
            PublicAdditionalLibraries.Add(Library);
        }
    }
}
