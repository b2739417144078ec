#include "WorldbusSubsystem.h"

#include "Async/Async.h"
#include "Modules/ModuleManager.h"

// The client's headers, and protobuf's, know nothing of Unreal's macros.
THIRD_PARTY_INCLUDES_START
#undef check
#undef verify
#include "worldbus/client.hpp"
#include "worldbus/inference/v1/types.pb.h"
#include "worldbus/npc/v1/npc.pb.h"
THIRD_PARTY_INCLUDES_END

IMPLEMENT_MODULE(FDefaultModuleImpl, Worldbus)
DEFINE_LOG_CATEGORY_STATIC(LogWorldbus, Log, All);

namespace
{
    FString Text(const std::string& Utf8) { return FString(UTF8_TO_TCHAR(Utf8.c_str())); }
    std::string Utf8(const FString& Text) { return std::string(TCHAR_TO_UTF8(*Text)); }
}

UWorldbusSubsystem::UWorldbusSubsystem() = default;
UWorldbusSubsystem::~UWorldbusSubsystem() = default;

bool UWorldbusSubsystem::Open(const FString& Url, const FString& World)
{
    const TWeakObjectPtr<UWorldbusSubsystem> Weak(this);
    worldbus::Settings Settings;
    Settings.url = Utf8(Url);
    Settings.world = Utf8(World);
    Settings.on_receipt = [Weak](const worldbus::Receipt& Receipt) {
        if (Receipt.outcome == worldbus::Outcome::recorded || Receipt.outcome == worldbus::Outcome::repeated) return;
        AsyncTask(ENamedThreads::GameThread, [Weak, Id = Text(Receipt.id), Reason = Text(Receipt.reason)] {
            if (Weak.IsValid()) Weak->OnRefused.Broadcast(Id, Reason);
        });
    };
    try
    {
        Client = std::make_unique<worldbus::Client>(Settings);
        Lines = Client->subscribe("npc", "", "NpcSpoke", [Weak](const worldbus::Event& Event) {
            worldbus::npc::v1::NpcSpoke Spoke;
            if (!Event.read(Spoke)) return;
            AsyncTask(ENamedThreads::GameThread,
                      [Weak, Npc = Text(Event.entity), Player = Text(Spoke.player()), Line = Text(Spoke.text()), Position = int64(Event.position)] {
                          if (Weak.IsValid()) Weak->OnLine.Broadcast(Npc, Player, Line, Position);
                      });
        });
        Chunks = Client->listen("tokens", "", [Weak](const worldbus::Signal& Signal) {
            worldbus::inference::v1::TokensDelivered Chunk;
            if (!Signal.read(Chunk)) return;
            AsyncTask(ENamedThreads::GameThread, [Weak, Request = Text(Signal.key), Line = Text(Chunk.text())] {
                if (Weak.IsValid()) Weak->OnLine.Broadcast(Request, FString(), Line, 0);
            });
        });
    }
    catch (const worldbus::Error& Error)
    {
        UE_LOG(LogWorldbus, Error, TEXT("%s"), *Text(Error.what()));
        Lines.reset();
        Client.reset();
        return false;
    }
    return true;
}

bool UWorldbusSubsystem::Publish(const FString& Entity, const google::protobuf::Message& Event)
{
    if (!Client) return false;
    const worldbus::Submitted Submitted = Client->publish(Utf8(Entity), Event);
    if (Submitted == worldbus::Submitted::queued) return true;
    UE_LOG(LogWorldbus, Warning, TEXT("event not taken: %s"), UTF8_TO_TCHAR(worldbus::to_string(Submitted)));
    return false;
}

uint64 UWorldbusSubsystem::Dropped() const { return Client ? Client->stats().overflowed : 0; }

void UWorldbusSubsystem::Deinitialize()
{
    // Subscriptions end before their client; what is under way has a moment to reach the log.
    Chunks.reset();
    Lines.reset();
    if (Client) Client->flush(std::chrono::milliseconds(500));
    Client.reset();
    Super::Deinitialize();
}
