# ruff: noqa: RUF001 (letters of many scripts are what this is about)
"""Searching by words, whatever letters they are written in: marks, scripts without spaces, titles, rarity; and how sure an answer is."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections import Listed, Projector
from projections.knowledge import tuning, unlike, vectors
from projections.knowledge.embedders import open_embedder
from projections.knowledge.knowledge import knowledge
from projections.knowledge.search import ANSWERS, Mode, Query, open_search
from projections.knowledge.serving import open_serving
from projections.query import query
from tests.integration.knowledge.lore import WORLD, Library, Told, found
from worldbus.testing.servers import as_reader

PEOPLE = 120
ASKED = 30


def _people(
    first: Sequence[str], second: Sequence[str], jobs: Sequence[str], places: Sequence[str], sentence: str
) -> list[tuple[str, str]]:
    """Names, each with a passage; every part of a name is that of several people."""
    names = [one + other for one, other in itertools.product(first, second)]
    picked = [names[(number * 37) % len(names)] for number in range(PEOPLE)]
    assert len(set(picked)) == PEOPLE
    return [
        (name, sentence.format(name=name, job=jobs[number % len(jobs)], place=places[number % len(places)]))
        for number, name in enumerate(picked)
    ]


CHINESE = _people(
    ("陈", "王", "李", "张", "欧阳", "司马", "林", "黄", "周", "吴", "赵", "孙", "何"),
    ("海生", "秋月", "明远", "小梅", "大山", "文静", "玉兰", "子轩", "国强", "丽华", "春燕", "志明", "海棠"),
    ("灯塔看守人", "渡船夫", "面包师", "钟表匠", "盐商", "铁匠", "医生"),
    ("北码头", "旧城", "盐场", "雾港", "风车坡"),
    "{name}是{place}的{job}，每天清晨都在市场上买鱼，晚上回到河边的家里，从不谈论过去的事情。",
)
JAPANESE = _people(
    ("佐藤", "鈴木", "高橋", "田中", "伊藤", "渡辺", "山本", "中村", "小林", "加藤", "吉田", "山田", "松本"),
    ("さくら", "健一", "美咲", "大輔", "ゆかり", "翔太", "ケンジ", "直子", "あおい", "竜之介", "マリ", "京子", "一郎"),
    ("灯台守", "渡し守", "パン屋", "時計職人", "塩商人", "鍛冶屋", "医者"),
    ("北の波止場", "旧市街", "塩田", "霧の港", "風車の丘"),
    "{name}は{place}の{job}で、毎朝市場で魚を買い、夜は川沿いの家に帰り、昔のことは決して話さない。",
)
THAI = _people(
    ("สมชาย", "สมหญิง", "อนันต์", "ประเสริฐ", "มาลี", "วิชัย", "สุดา", "ธนากร", "กมล", "จันทร์เพ็ญ", "บุญมี", "ศิริพร", "นที"),
    ("ใจดี", "ทองคำ", "แสงจันทร์", "ศรีสุข", "วงศ์ใหญ่", "บุญเรือง", "รักไทย", "พูนทรัพย์", "สายชล", "มั่นคง", "เพชรดี", "ชัยมงคล", "ดอกไม้"),
    ("คนเฝ้าประภาคาร", "คนแจวเรือ", "คนทำขนมปัง", "ช่างนาฬิกา", "พ่อค้าเกลือ", "ช่างตีเหล็ก", "หมอ"),
    ("ท่าเรือเหนือ", "เมืองเก่า", "นาเกลือ", "ท่าเรือหมอก", "เนินกังหัน"),
    "{name}เป็น{job}ที่{place} ทุกเช้าซื้อปลาที่ตลาด ตอนเย็นกลับบ้านริมแม่น้ำ และไม่เคยพูดถึงอดีต",
)


@pytest.mark.parametrize("mode", ["hybrid", "text"])
@pytest.mark.parametrize(
    ("people", "asking"),
    [
        (CHINESE, "{name}是谁"),
        (JAPANESE, "{name}は誰ですか"),
        (THAI, "{name}คือใคร"),
        (CHINESE, "{name}"),
        (JAPANESE, "{name}"),
        (THAI, "{name}"),
    ],
    ids=["chinese", "japanese", "thai", "chinese-name", "japanese-name", "thai-name"],
)
async def test_names_are_found_in_scripts_without_spaces(
    database: str, connection: asyncpg.Connection, people: list[tuple[str, str]], asking: str, mode: Mode
) -> None:
    """With the default model, which knows none of these languages: of 30 names 28 come first."""
    library = Library()
    library.tell("people", *(Told(text, heading=("人",)) for _, text in people))
    await library.shelve(database)
    async with open_serving(connection, first="minilm") as serving, open_search(database, serving) as search:
        await vectors.fill(connection, serving)
        await unlike.measure(connection, serving)
        await tuning.count_terms(connection)
        first = 0
        for name, text in people[:: PEOPLE // ASKED]:
            answer = await search.search(Query(world=WORLD, text=asking.format(name=name), mode=mode))
            first += bool(answer.hits) and answer.hits[0].body == text
    assert first >= 28


@pytest.mark.parametrize(
    ("written", "question"),
    [
        ("Señora Ibáñez owns the café.", "Senora Ibanez cafe"),
        ("Großenwächter Jürgen Weiß counts the nets.", "GROSSENWACHTER JURGEN WEISS"),
        ("Grossenwachter Jurgen Weiss counts the nets.", "Großenwächter Jürgen Weiß"),
        ("Zoë Łuczak mends sails.", "Zoe Luczak"),
        ("Đorđe Šarić keeps bees.", "dorde saric"),
        ("Ægir Þorsson and Åse Ørsted fish together.", "aegir thorsson ase orsted"),
        ("İlknur Çağrı weaves.", "ilknur cagri"),
        ("The œuvre hangs in the naïve room.", "OEUVRE NAIVE"),
        ("Ｔｈｅ　ｆｕｌｌ　ｗｉｄｔｈ　ｌｅｄｇｅｒ", "full width ledger"),
        ("e\u0301clair of the baker", "éclair"),
        ("Ἀθηνᾶ guards the door.", "Αθηνα"),
        ("ברוך הבא in שָׁלוֹם letters", "שלום"),
        ("القَلْعَة القديمة", "القلعة"),
        ("여관 주인은 김철수이다.", "김철수"),
        ("ຜູ້ເຝົ້າປະພາຄານຢູ່ທ່າເຮືອ", "ປະພາຄານ"),
        ("អ្នកយាមប៉មនៅកំពង់ផែ", "កំពង់ផែ"),
        ("မီးပြတိုက်စောင့်သည် ဆိပ်ကမ်းတွင်", "ဆိပ်ကမ်း"),
        ("灯塔看守人住在北码头。", "灯塔"),
        ("灯塔看守人住在北码头。", "塔"),
    ],
)
async def test_a_word_is_found_however_its_letters_are_marked(
    database: str, connection: asyncpg.Connection, written: str, question: str
) -> None:
    library = Library()
    library.tell("names", Told(written), *(Told(f"Somebody else passes by, number {number}.") for number in range(20)))
    await library.shelve(database)

    assert (await found(connection, question))[:1] == [written]


async def test_marks_do_not_keep_a_word_from_being_spelt_as_it_was_meant(database: str, connection: asyncpg.Connection) -> None:
    library = Library()
    library.tell("names", Told("Großenwächter Jürgen Weiß counts the nets."), Told("Nobody counts the boats."))
    await library.shelve(database)
    await tuning.count_terms(connection)

    assert (await found(connection, "Grossenwechter"))[:1] == ["Großenwächter Jürgen Weiß counts the nets."]


Folding = Callable[[str], tuple[str, str, str, str | None]]


@pytest.fixture
def folding(database: str) -> Folding:
    """A text folded once and twice, its stems and its weights, as Postgres makes them."""
    sql = """
        SELECT worldbus.kb_fold($1), worldbus.kb_fold(worldbus.kb_fold($1)),
               worldbus.kb_stems('', '{}', $1)::text, worldbus.kb_weights('', '{}', $1)::text
    """

    async def asked(text: str) -> tuple[str, str, str, str | None]:
        connection = await asyncpg.connect(database)
        try:
            row = await connection.fetchrow(sql, text)
        finally:
            await connection.close()
        return tuple(row)

    return lambda text: asyncio.run(asked(text))


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_folding_twice_is_folding_once_and_any_text_has_weights(text: str, folding: Folding) -> None:
    once, twice, stems, weights = folding(text)
    assert once == twice
    assert stems is not None
    assert (weights is None) == (stems == "")


async def test_a_title_is_searched_for_like_a_heading(database: str, connection: asyncpg.Connection) -> None:
    """Documents of before, whose title stands in none of their headings, are found by it as well."""
    library = Library()
    library.tell("heron", Told("A room costs three coins.", heading=("Rooms",)))
    library.tell("crane", Told("A room costs five coins.", heading=("Rooms",)))
    await library.shelve(database)

    assert (await found(connection, "price of a room at the crane"))[:1] == ["A room costs five coins."]
    assert await found(connection, "heron") == ["A room costs three coins."]


async def test_rare_words_and_short_passages_come_first(database: str, connection: asyncpg.Connection) -> None:
    long = "The narwhal is mentioned once in a long story of the market, " + "the fish, the boats and the people of the market. " * 12
    short = "The narwhal has a tusk."
    library = Library()
    library.tell("tales", Told(long), Told(short), *(Told(f"The market opens at {hour}, the market closes late.") for hour in range(40)))
    await library.shelve(database)

    assert await found(connection, "narwhal") == [short, long]


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
async def test_a_question_that_nothing_answers_is_told_from_one_that_something_does(
    database: str, connection: asyncpg.Connection, mode: Mode
) -> None:
    library = Library()
    library.tell(
        "town",
        Told("The ferryman Odo drowned in the winter storm at the north quay.", heading=("The ferryman",)),
        Told("Salt is taxed at the gate: two coins for each sack.", heading=("Salt",)),
        Told("The lighthouse keeper lights the lamp at dusk and sleeps at noon.", heading=("Lighthouse",)),
    )
    await library.shelve(database)
    async with open_serving(connection, first="minilm") as serving, open_search(database, serving) as search:
        await vectors.fill(connection, serving)
        for question, answered in (
            ("how did the ferryman die?", True),
            ("what tax is there on salt?", True),
            ("when does the lighthouse keeper sleep?", True),
            ("how do I install a graphics driver?", False),
            ("which planets have rings?", False),
        ):
            answer = await search.search(Query(world=WORLD, text=question, mode=mode))
            assert answer.answered is answered, question
            assert answer.answered == any(hit.score >= ANSWERS for hit in answer.hits)
            assert all(0 <= hit.score <= 1 for hit in answer.hits)
            assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    told = await query(as_reader(database), f"SELECT max(score) >= 0.5 FROM kb_search('{WORLD}', 'which planets have rings?')")
    assert told.rows in ([(False,)], [(None,)])


async def test_a_model_for_which_all_texts_are_alike_is_put_on_the_same_scale(connection: asyncpg.Connection) -> None:
    hashing = await open_embedder("hashing")
    await vectors.register(connection, hashing, "hashing", state="serving")
    await unlike.measure(connection, hashing)
    measured = await connection.fetchval("SELECT unlike FROM worldbus.embedding_models")

    assert 0.0 < measured < 0.2
    await connection.execute("UPDATE worldbus.embedding_models SET unlike = 0.7")
    await unlike.measure(connection, hashing)
    assert await connection.fetchval("SELECT unlike FROM worldbus.embedding_models") == 0.7  # measured once


V1 = """
CREATE FUNCTION words(heading text[], body text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT setweight(to_tsvector('pg_catalog.english', array_to_string(heading, ' ')), 'A')
        || setweight(to_tsvector('pg_catalog.english', body), 'D')
$$;
"""


async def test_tables_of_the_first_version_are_searched_until_the_second_is_built(database: str, connection: asyncpg.Connection) -> None:
    """A world goes on with the tables that it has: they are asked as they were made, and change places with the new ones at once."""
    first = knowledge.sql.replace("worldbus.kb_stems(title, heading, body)", "words(heading, body)")
    first = "\n".join(line for line in first.splitlines() if "kb_weights" not in line and "passages.weights" not in line)
    before = type(knowledge)(name="knowledge", version=1, schema=V1 + first, tables=knowledge.tables, on=knowledge.on)
    library = Library()
    library.tell(
        "town", Told("Señor Ibáñez keeps the light."), Told("The keeper sleeps."), *(Told(f"Boat {n} lies here.") for n in range(9))
    )
    await Projector(database, [before]).run(Listed(library.events), follow=False)

    async with open_search(database, None) as search:
        old = await search.search(Query(world=WORLD, text="who keeps the light"))
        assert old.hits[0].body == "Señor Ibáñez keeps the light."
        assert 0 < old.hits[0].score <= 1
        await library.shelve(database)
        new = await search.search(Query(world=WORLD, text="ibanez light"))

    assert new.hits[0].body == "Señor Ibáñez keeps the light."
    assert await connection.fetchval("SELECT version FROM worldbus.generations WHERE live AND projection = 'knowledge'") == 2
