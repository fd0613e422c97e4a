#include "simulations/selection/style_tables.h"

namespace lorikeet {
namespace {

constexpr TopicTable kTopics[] = {
    {"the soup|a loaf of bread|the onions|some rice|the big pan|an apple tart|the leftovers|the "
     "eggs|a pot of beans|the pancakes",
     "made/make|burned/burn|bought/buy|shared/share|forgot/forget|finished/finish|warmed/warm",
     "in the kitchen|at the market|on the stove|at my aunt's house|in the oven",
     "was too salty|was nearly cold|smelled good|took all evening|was gone by noon"},
    {"the tomatoes|the hedge|a row of beans|the old apple tree|the lawn|some seeds|the rose "
     "bush|the compost|the watering can|a bag of soil",
     "planted/plant|watered/water|moved/move|cut/cut|checked/check|covered/cover|carried/carry",
     "in the garden|behind the shed|by the fence|on the balcony|near the wall",
     "was full of snails|looked dry|grew a lot|was in the shade|needed water"},
    {"the bus|the early train|my ticket|the tram|a seat|the connection|the ferry|our bags|the "
     "timetable|the last stop",
     "missed/miss|found/find|waited for/wait for|checked/check|left/leave|lost/lose|reached/reach",
     "at the station|at the stop|near the bridge|on the platform|in town",
     "was late|was very full|stopped twice|was cancelled|was on time"},
    {"the report|a long meeting|the new printer|my notes|the budget|an email|the spare desk|the "
     "plan|the phone call|the old files",
     "finished/finish|read/read|moved/move|prepared/prepare|checked/check|started/start|sent/send",
     "at the office|in the back room|at my desk|upstairs|in the meeting room",
     "was due today|was not ready|had many mistakes|was a big help|changed again"},
    {"the dog|our cat|the neighbour's rabbit|a stray kitten|the two hens|the goldfish|the "
     "puppy|the old mare|the parrot|the hamster",
     "fed/feed|followed/follow|washed/wash|found/find|carried/carry|watched/watch|called/call",
     "in the yard|under the table|at the vet|by the river|in the park",
     "slept all day|ran away|was hungry|made a lot of noise|was afraid of the rain"},
    {"the tap|the front door|a loose shelf|the bike|the washing machine|the lamp|the roof|a "
     "broken chair|the window|the heater",
     "fixed/fix|painted/paint|cleaned/clean|broke/break|replaced/replace|measured/measure|tested/"
     "test",
     "in the hall|in the cellar|at the workshop|in the bathroom|on the landing",
     "was stuck|leaked a little|made a strange noise|was as good as new|fell down"},
    {"the match|a short run|the new shoes|the swimming lesson|the second race|the team bus|the "
     "ball|our training|the tent|the walk",
     "watched/watch|enjoyed/enjoy|started/start|missed/miss|planned/plan|finished/finish|lost/lose",
     "at the pool|on the hill|at the club|on the field|along the coast",
     "was very hard|ended in a draw|was called off|went well|took two hours"},
    {"a new coat|the blue shirt|some batteries|a birthday present|the shopping list|a pair of "
     "boots|the receipt|two tickets|the curtains|a second-hand table",
     "bought/buy|returned/return|lost/lose|ordered/order|found/find|chose/choose|needed/need",
     "at the shop|in the sale|at the counter|on the high street|by the till",
     "was too small|cost a lot|was sold out|was a good price|was the wrong size"},
    {"the last chapter|an old letter|the newspaper|a library book|the crossword|a good story|the "
     "poem|the photo album|a film|the radio play",
     "read/read|started/start|borrowed/borrow|returned/return|enjoyed/enjoy|kept/keep|found/find",
     "at the library|in bed|on the train|in the attic|by the window",
     "was very sad|was too long|made me laugh|ended badly|was about the sea"},
    {"the piano|the choir practice|a new song|the drum|the concert|an old record|the violin|the "
     "festival|the band|the second verse",
     "played/play|heard/hear|practised/practise|missed/miss|recorded/record|enjoyed/enjoy|learned/"
     "learn",
     "at the school|in the church|in the garage|next door|on the stage",
     "was out of tune|was very loud|sounded better|started late|was a surprise"},
    {"the medicine|my knee|a headache|the appointment|the dentist|some tea|the cough|the old "
     "bandage|a long nap|the results",
     "checked/check|forgot/forget|needed/need|waited for/wait for|tried/try|missed/miss|described/"
     "describe",
     "at the clinic|on the sofa|at the pharmacy|at home|in the waiting room",
     "was better today|hurt a lot|was not serious|came back|took a week"},
    {"the party|a cup of coffee|our neighbours|the guests|the spare room|a long talk|the cake|the "
     "candles|an old friend|the invitation",
     "met/meet|invited/invite|prepared/prepare|enjoyed/enjoy|remembered/remember|left/leave|"
     "welcomed/welcome",
     "at the cafe|in the living room|at her place|on the terrace|across the street",
     "was fun|lasted until midnight|was very kind|came too early|was the best part"},
};

constexpr GrammarTable kGrammar = {
    .people =
        "I|I|I|we|we|my sister|my brother|the neighbour|my friend|our teacher|the "
        "children|my cousin|a colleague|the people next door",
    .times =
        "this morning|yesterday|on Tuesday|last night|after lunch|on Sunday|last week|before "
        "breakfast|in the afternoon|around noon|on Friday evening|two days ago",
    .reasons =
        "it was raining|there was not enough time|the shop was closed|my brother asked for "
        "help|we had guests|it was cheap|the car did not start|everybody was tired|the "
        "children wanted it|I did not know the way|it is cold outside|the old one was broken",
    .troubles =
        "it did not work|nobody noticed|there was a problem|it took a long time|we had to "
        "stop|I do not know why|it was too late|the rain started again|it is not finished|"
        "the key was missing",
    .thoughts =
        "we will try again tomorrow|I will tell you about it|it was a long day|I think it "
        "will be fine|you can help me if you want|there is still a lot to do|I do not "
        "need anything else|we are going home now|I am thinking about it|that is all for "
        "today|it is not a big problem|please tell your mother",
};

constexpr std::string_view kRegisterWords[] = {
    "a lot of>a considerable amount of>loads of",
    "a lot>considerably>a ton",
    "very>exceedingly>super",
    "bought>purchased>grabbed",
    "buy>purchase>grab",
    "started>commenced>kicked off",
    "start>commence>kick off",
    "finished>completed>wrapped up",
    "needed>required>needed",
    "asked for>requested>wanted",
    "told>informed>told",
    "tell>inform>tell",
    "found>located>found",
    "fixed>repaired>sorted",
    "checked>examined>checked out",
    "enjoyed>appreciated>loved",
    "help>assistance>a hand",
    "because>as>cause",
    "but>however>but",
    "also>furthermore>plus",
    "around>approximately at>round",
    "children>children>kids",
    "neighbour>neighbour>guy next door",
    "my friend>an acquaintance of mine>my mate",
    "my brother>my brother>my bro",
    "a colleague>a colleague of mine>someone from work",
    "problem>difficulty>mess",
    "tired>fatigued>knackered",
    "cheap>inexpensive>dirt cheap",
    "broken>no longer serviceable>bust",
    "nobody>no one>nobody",
    "everybody>everyone>everyone",
    "wanted to>wished to>wanted to",
    "have to>am obliged to>gotta",
    "had to>were obliged to>had to",
    "want>wish>want",
    "going to>intending to>gonna",
    "think>believe>reckon",
    "please>kindly>pls",
    "tomorrow>tomorrow>tmrw",
    "you>you>u",
    "your>your>ur",
    "and>and>n",
    "good>satisfactory>decent",
    "big>substantial>massive",
    "fun>most agreeable>a laugh",
};

// clang-format off
constexpr ToneTable kTones[] = {
    {.name = "cheerful",
     .formal_openers = "I am delighted to say that|It is a pleasure to report that|Happily|To my great joy|What a pleasure that",
     .informal_openers = "yay|omg|best news|so happy|woohoo",
     .formal_closers = ", which was splendid|. It was a true delight|, to everyone's delight|. We were all in excellent spirits",
     .informal_closers = " and it was awesome|. love it|, best day ever|. so so good",
     .inserts = "gladly|happily|cheerfully",
     .words = "long>lovely|problem>little adventure|fine>wonderful|late>just in time|old>dear old|hard>exciting|sad>beautiful",
     .emoji = "🎉|😊|😄|🥳", .exclaim = 0.45},
    {.name = "gloomy",
     .formal_openers = "I regret to say that|As was to be feared|Sadly|Once more|It is no consolation that",
     .informal_openers = "ugh|typical day|again|well|sigh",
     .formal_closers = ", and little will come of it|. One hardly sees the point|, as always in vain|. It was a dismal affair",
     .informal_closers = " and now im just tired|. whats the point|, story of my life|. everything sucks a bit",
     .inserts = "wearily|dully|reluctantly",
     .words = "fine>bearable|good>tolerable|new>already shabby|fun>over too soon|kind>distant|best part>only part|laugh>weep",
     .emoji = "😞|😔|🌧", .trail = 0.35},
    {.name = "anxious",
     .formal_openers = "I fear that|I am not certain, but perhaps|If I am not mistaken|It worries me that|I hope it is acceptable that",
     .informal_openers = "not sure but|um|ok so maybe|i hope its fine but|sorry",
     .formal_closers = ", unless I am mistaken|. Should I have acted otherwise|, although I cannot be sure|. I do hope that nothing is amiss",
     .informal_closers = ", or was that wrong|. is that ok|, i guess|. cant stop worrying about it",
     .inserts = "perhaps|nervously|possibly",
     .words = "will>might|fine>all right in the end|noticed>was watching, I hope|strange>worrying|works>might work|went well>probably went well",
     .emoji = "😬|😰|🙈", .ask = 0.4},
    {.name = "exact",
     .formal_openers = "For the record|At ##:## precisely|Item #|According to my notes|To be exact",
     .informal_openers = "fyi|##:##|ok numbers|#/## done|update #",
     .formal_closers = ", at a cost of ## pounds|. Duration: ## minutes|, that is, # of ## in total|. The temperature was #.# degrees",
     .informal_closers = ", took ## min|. ## quid total|, # out of ##|. so thats ##%",
     .inserts = "exactly|first|twice",
     .words = "a long time>## minutes|long>##-minute|two>exactly two|many>##|enough time>## minutes|all day>for ## hours|a week># days",
     .emoji = "✅|📏"},
    {.name = "archaic",
     .formal_openers = "Verily|In truth|Be it known that|Pray consider that|Lo",
     .informal_openers = "hark|aye|ho there|by my beard|alas",
     .formal_closers = ", as it is written of old|. Thus it hath ever been|, upon mine honour|. So be it",
     .informal_closers = ", ye know|. tis true|, by thunder|. fare thee well",
     .inserts = "forthwith|anon|verily",
     .words = "you>thee|your>thy|my>mine|before>ere|will>shall|it was>'twas|it is>'tis|nothing>naught|is>be|yesterday>yestereve|has>hath|often>oft",
     .emoji = "", .exclaim = 0.12},
    {.name = "ironic",
     .formal_openers = "Naturally|Needless to say|To nobody's surprise|One will be thrilled to learn that|Of course",
     .informal_openers = "oh great|shocker|guess what|surprise surprise|cool cool",
     .formal_closers = ", as experts had surely predicted|. A triumph of planning|, so to speak|. What could possibly go wrong",
     .informal_closers = ", because of course|. genius|, obviously|. nailed it",
     .inserts = "heroically|allegedly|somehow",
     .words = "fixed>\"fixed\"|help>\"help\"|ready>\"ready\"|good>truly outstanding|fine>just perfect|problem>minor detail|on time>miraculously on time|best>famously best",
     .emoji = "🙃|👏|😏"},
    {.name = "tender",
     .formal_openers = "My dear|Dearest|With a warm heart I write that|You will be touched to hear that|Thinking of you",
     .informal_openers = "aw|hey love|sweetie|miss u|hugs",
     .formal_closers = ", and I thought of you|. May it bring you comfort|, gently as a summer evening|. You are always in my thoughts",
     .informal_closers = ", wish u were here|. big hug|, thinking of u|. take care of yourself ok",
     .inserts = "gently|softly|fondly",
     .words = "old>beloved|small>little|dog>sweet dog|cat>darling cat|friend>dear friend|sister>dear sister|children>little ones|good>precious|cold>cosy inside",
     .emoji = "💛|🤗|🌷"},
};
// clang-format on

}  // namespace

std::span<const TopicTable> StyleTopics() { return kTopics; }
const GrammarTable& StyleGrammar() { return kGrammar; }
std::span<const std::string_view> RegisterWords() { return kRegisterWords; }
std::span<const ToneTable> StyleTones() { return kTones; }

}  // namespace lorikeet
